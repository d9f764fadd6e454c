"""Lines that pause what was refused, pasted where they say that they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harvester.core import calendar
from harvester.core.config.settings import Manifest, Pause
from harvester.manifest import loader
from harvester.manifest.pause_lines import Refused, pause_lines
from tests.support.run_harness import DAILY, HOURLY, appid

TODAY = calendar.parse_day("2026-06-15")
UNTIL = calendar.parse_day("2026-12-31")
REASON = "refused on 2026-06-15: 48001, not granted"
ACCOUNTS = f"""\
accounts:
  - appid: {appid(1)}
    name: "Acme ::set-output # \\n- x"
  - appid: {appid(2)}
    paused: {{datasets: {DAILY}, reason: 'not "yet" ::', until: 2026-12-31}}
  - appid: {appid(3)}
"""


def read(folder: Path, accounts: str) -> Manifest:
    """Return the manifest of these accounts and of a CSV file, with those of a platform."""
    text = (
        f"{accounts}accounts_file: a.csv\naccounts_from: platform\njobs: [{{}}]\n"
        "defaults: {owns_tokens: true}\n"
        'platform: {appid: wx00000000000000ff, component_token: "${T}"}\n'
    )
    path = folder / "jobs.yaml"
    noon = calendar.instant(TODAY, 12 * 60)
    return loader.read(path, environ={}, now=noon, text=text).manifest([appid(5)])


def pasted(folder: Path, lines: list[str]) -> Manifest:
    """Return the manifest with each line put where the line before it says."""
    yaml, (head, *rows) = ACCOUNTS.splitlines(), (folder / "a.csv").read_text().splitlines()
    for place, line in zip(lines[::2], lines[1::2], strict=True):
        whose = place.split()[1].strip(",")
        if "row" in place:
            [old] = [row for row in rows if whose in row]
            rows[rows.index(old)] = f"{old},{line}"
        elif whose in ACCOUNTS:
            [named_line] = [at for at, old in enumerate(ACCOUNTS.splitlines(), 1) if whose in old]
            assert place.endswith(f"jobs.yaml:{named_line}")
            [at] = [at for at, old in enumerate(yaml, 1) if whose in old]
            if "paused" in yaml[at]:
                del yaml[at]
            yaml.insert(at, line)
        else:
            yaml.append(line)
    columns = f"{head},paused,paused.datasets,paused.until"
    (folder / "a.csv").write_text("\n".join([columns, *rows]) + "\n")
    return read(folder, "\n".join(yaml) + "\n")


def test_a_refusal_of_the_whole_account_pauses_all_of_it(tmp_path: Path) -> None:
    """Its datasets are not named, although some were refused or paused by themselves."""
    (tmp_path / "a.csv").write_text(f"appid\n{appid(4)}\n")
    refused = [
        Refused(appid(number), datasets, 48001, "not granted")
        for number, datasets in [(1, (DAILY,)), (1, ()), (2, ()), (4, ()), (4, (HOURLY,))]
    ]
    lines = [*pause_lines(read(tmp_path, ACCOUNTS), refused, TODAY)]
    paused = {each.appid: each.paused for each in pasted(tmp_path, lines).accounts if each.paused}
    assert [*paused] == [appid(1), appid(2), appid(4)]
    assert not any(pause.datasets for pause in paused.values())


def test_what_was_refused_is_paused_by_the_lines(tmp_path: Path) -> None:
    """In `accounts`, in the accounts file, and of a platform's account; nothing else is paused."""
    (tmp_path / "a.csv").write_text(f'appid,name\n{appid(4)},"=a, ""b"""\n')
    refused = [
        Refused(appid(1), (), 40125, "${NAME} wrong"),
        Refused(appid(2), (HOURLY,), 48001, "not granted"),
        Refused(appid(4), (DAILY,), 48001, "not granted"),
        Refused(appid(4), (HOURLY,), 48001, "not granted"),
        Refused(appid(5), (), None, 'said "no",\nand ::stop'),
    ]
    found = read(tmp_path, ACCOUNTS)
    lines = [*pause_lines(found, refused, TODAY)]
    after = {account.appid: account.paused for account in pasted(tmp_path, lines).accounts}
    told = {whose: pause and (pause.datasets, pause.reason) for whose, pause in after.items()}
    assert told == {
        appid(1): ((), "refused on 2026-06-15: 40125, $ {NAME} wrong"),
        appid(2): ((DAILY, HOURLY), f'not "yet" ::; {REASON}'),
        appid(3): None,
        appid(4): ((DAILY, HOURLY), REASON),
        appid(5): ((), 'refused on 2026-06-15: said "no",\nand ::stop'),
    }
    assert after[appid(2)] == Pause(f'not "yet" ::; {REASON}', (DAILY, HOURLY), UNTIL)
    assert not any("::" in line or "\n" in line for line in lines)


def test_an_account_whose_place_is_not_known_gets_no_second_entry(tmp_path: Path) -> None:
    """A manifest as runs have kept it names no lines, and an appid comes once."""
    (tmp_path / "a.csv").write_text(f"appid\n{appid(4)}\n")
    kept = replace(read(tmp_path, ACCOUNTS), account_places={}, from_platform=False)
    where, line = pause_lines(kept, [Refused(appid(3), (), 48001, "not granted")], TODAY)
    assert where == f"# {appid(3)}, in its entry"
    assert line == f'    paused: {{"reason": "{REASON}"}}'
