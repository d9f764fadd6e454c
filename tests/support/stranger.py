"""The way of a stranger as a log: an empty folder, the wheel, the pages from top to bottom.

``python -m tests.support.stranger WHEEL FOLDER`` writes FOLDER/en.log and FOLDER/zh.log. Commands
are typed into one shell, whose environment is HOME and PATH alone. In Chinese they are those of the
Chinese pages, with ``--lang zh`` where a page says that it exists.

What no machine has is put in: WeChat is the emulator with the faults of docs/tutorial.md, the clock
is that of the page, and each path of a schedule is the folder of the walk.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, TextIO

import psutil

from harvester.sandbox import Rules
from tests.support import moved_clock
from tests.support.doc_pages import ROOT, blocks
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import serve_in_thread
from tests.support.told_page import NOON, PARTS

LANGUAGES = ("en", "zh")
IN_CHINESE = re.compile("harvester (run|status|explain) ")
"""Commands of which the Chinese tutorial says that they take ``--lang zh``."""

PAUSED, REFUSED = "wx1fc6480269f92f76", "48001"
NEXT = re.compile(r"^    ((?:harvester status|duckdb) .*)$", re.MULTILINE)
END = "\036"


class Typed(NamedTuple):
    """A command, what it printed, its exit code, and the seconds that it took.

    ``told`` is what the page shows in this place, None where it shows nothing.
    """

    command: str
    output: str
    code: int
    seconds: float
    cpu: float
    told: str | None = None


class Part(NamedTuple):
    """An order of a page to the emulator, or a block and the answer that stands behind it."""

    order: str = ""
    info: str = ""
    text: str = ""
    told: str | None = None


class Walk:
    """A shell in an empty folder, the emulator's clock, and the log of what was typed."""

    def __init__(self, folder: Path, log: TextIO, language: str) -> None:
        python = Path(getattr(sys, "_base_executable", sys.executable)).parent
        self.folder, self._log, self._end = folder, log, ".zh.md" if language == "zh" else ".md"
        self.environ = {"HOME": str(folder), "PATH": f"{python}:/usr/bin:/bin"}
        self.typed: list[Typed] = []
        self.tried: set[str] = set()
        self.waited = 0.0
        self._shift = 0.0
        self.wechat = FaultyWeChat(Rules(), lambda: time.time() + self._shift)
        self._shell = subprocess.Popen(
            ["/bin/sh"],
            cwd=folder,
            env=self.environ,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def close(self) -> None:
        """End the shell."""
        self._shell.communicate()

    def page(self, name: str) -> Path:
        """Return a page in the language of the walk, and begin its part of the log."""
        page = ROOT / "docs" / f"{name}{self._end}"
        self.say(f"\n== {page.relative_to(ROOT)}")
        self.tried.clear()
        return page

    def say(self, text: str) -> None:
        """Write a line of the log."""
        print(text, file=self._log, flush=True)

    def type(self, command: str, told: str | None = None) -> Typed:
        """Type a command of one line or more, and wait for its end."""
        if self._end == ".zh.md" and IN_CHINESE.match(command) and "--lang" not in command:
            command += " --lang zh"
        assert self._shell.stdin
        before, began = self._cpu(), time.monotonic()
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null; printf '{END}%d{END}' $?\n")
        self._shell.stdin.flush()
        output, code = self._answer()
        taken = time.monotonic() - began, self._cpu() - before
        found = Typed(command, output, code, *taken, told)
        self.typed.append(found)
        self.say(f"$ {command}\n{output}[exit {code}, {taken[0]:.1f} s, CPU {taken[1]:.1f} s]\n")
        return found

    def _answer(self) -> tuple[str, int]:
        assert self._shell.stdout
        read = ""
        while not (found := re.search(f"{END}(\\d+){END}$", read)):
            character = self._shell.stdout.read(1)
            assert character, read
            read += character
        output = read[: found.start()]
        return output + "\n" * (not output.endswith("\n") and output != ""), int(found[1])

    def _cpu(self) -> float:
        times = psutil.Process(self._shell.pid).cpu_times()
        return float(times.children_user + times.children_system)

    def set_clock(self, hours: float = 0.0) -> None:
        """Let it be noon of the tutorial's day, so many hours after the last time."""
        self.waited += 3600 * hours
        self._shift = NOON + self.waited - time.time()
        [packages] = self.folder.glob(".venv/lib/*/site-packages")
        shutil.copy(moved_clock.__file__, packages)
        moved = f"import moved_clock; moved_clock.move_by({self._shift}, {self.waited})\n"
        (packages / "moved_clock.pth").write_text(moved)
        self.say(f"# The clock of harvester: {self.waited / 3600:g} hours after the first noon.\n")

    def order(self, line: str) -> None:
        """Carry out a comment of the tutorial, as `told_page.World` does."""
        name, *words = line.split()
        if name == "wait":
            self.set_clock(float(words[0]))
            return
        self.say(f"# WeChat: {line}\n")
        if name == "fail":
            self.wechat.fail(words[0], int(words[2]), dataset=words[1])
        else:
            self.wechat.heal(words[0], dataset=words[1])


def install(walk: Walk, wheel: Path) -> None:
    """Install the wheel, as the page says, and DuckDB's command line."""
    page = walk.page("install")
    shutil.copy(wheel, walk.folder)
    [command] = re.findall(r"`(python3 -m venv [^`]*\.whl)`", page.read_text("utf-8"))
    walk.type(command)
    shell = [block.text for block in blocks(page, "sh")]
    for line in "".join(shell[:2]).splitlines():
        walk.type(line)


def minute(walk: Walk) -> None:
    """Use the emulator, up to the rows that DuckDB reads."""
    page = walk.page("emulator")
    walk.type("mkdir minute && cd minute")
    for block in blocks(page, "sh", "sql"):
        if block.info == "sql":
            _ask(walk, block.text)
            continue
        for line in block.text.splitlines():
            _try_next(walk, walk.type(line))
    walk.type("cd ..")
    _sum_up(walk)


def tutorial(walk: Walk, address: str) -> None:
    """Do the tutorial, with WeChat at the emulator's address."""
    page = walk.page("tutorial")
    walk.set_clock()
    for part in _parts(page):
        if part.order:
            walk.order(part.order)
        elif part.info == "yaml" and part.text.startswith("# jobs.yaml"):
            text = part.text + f"api: {{base_url: {address!r}}}\n"
            walk.type(f"cat > jobs.yaml <<'EOF'\n{text}EOF")
        elif part.info == "sh":
            _type_all(walk, part.text.splitlines(), part.told)
        elif part.info == "sql":
            _ask(walk, part.text, part.told)
    walk.type("harvester explain 40125")


def schedule(walk: Walk) -> None:
    """Run each schedule of the page once; then WeChat refuses a dataset, and cron has a mail."""
    page = walk.page("schedule")
    cron = _cron(walk, page)
    walk.say("# A morning without a trouble: cron mails nothing.\n")
    walk.set_clock(24)
    walk.type(cron)
    for block in blocks(page, "sh"):
        walk.type(block.text.rstrip())
    _systemd(walk)
    walk.say("# WeChat refuses a dataset: cron mails the log.\n")
    walk.set_clock(24)
    walk.order(f"fail {PAUSED} biz_summary {REFUSED}")
    walk.type(cron)
    pause(walk)
    walk.say("# The account is paused: cron mails nothing.\n")
    walk.type(cron)


def pause(walk: Walk) -> None:
    """Paste the line that the page's command prints below the keys of the account."""
    page = walk.page("pause")
    said = ""
    for line in blocks(page, "sh")[0].text.splitlines():
        said = walk.type(line).output
    [line] = re.findall(r"^    paused: .*$", said, re.MULTILINE)
    name = "    name: Northern Airlines"
    walk.type(f"cat > pause.txt <<'EOF'\n{line}\nEOF")
    walk.type(f"sed -i '/^{name}$/r pause.txt' jobs.yaml")
    walk.type("harvester run jobs.yaml")


def _parts(page: Path) -> list[Part]:
    """Return the parts of a page. A translation has the same blocks and no orders."""
    english = page.with_name(page.name.replace(".zh.md", ".md"))
    texts = iter(blocks(page))
    found: list[Part] = []
    for match in PARTS.finditer(english.read_text("utf-8")):
        if match["order"]:
            found.append(Part(order=match["order"]))
            continue
        info, text = match["info"], next(texts).text
        if info in {"text", "csv"}:
            found[-1] = found[-1]._replace(told=text)
        else:
            found.append(Part(info=info, text=text))
    return found


def _cron(walk: Walk, page: Path) -> str:
    """Return the page's line as cron starts it, in the folder of the walk."""
    [block] = blocks(page, "crontab")
    command = block.text.split(maxsplit=5)[5].rstrip().replace("/srv/wechat", str(walk.folder))
    environ = f"HOME={walk.folder} LOGNAME=me SHELL=/bin/sh PATH=/usr/bin:/bin"
    return f"env -i {environ} /bin/sh -c '{command}'"


def _systemd(walk: Walk) -> None:
    """Let systemd judge the units, and start the command of the service."""
    units = ROOT / "examples/systemd"
    walk.say(f"# {units.relative_to(ROOT)}, with the paths of this folder.\n")
    walk.type("mkdir units")
    for unit in units.glob("harvester*"):
        text = unit.read_text("utf-8").replace("/opt/harvester/bin/", f"{walk.folder}/.venv/bin/")
        text = text.replace("/usr/bin/logger", "/bin/true")
        text = text.replace("/etc/harvester/jobs.yaml", f"{walk.folder}/jobs.yaml")
        (walk.folder / "units" / unit.name).write_text(text)
    if shutil.which("systemd-analyze"):
        walk.type("systemd-analyze verify --man=no units/*")
    service = (walk.folder / "units/harvester.service").read_text("utf-8")
    [command] = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    environ = " ".join(re.findall(r"^Environment=(.*)$", service, re.MULTILINE))
    walk.type(f"env -i {environ} {command}")


def _type_all(walk: Walk, lines: list[str], told: str | None) -> None:
    """Type lines, whose answers a page shows as one text or not at all."""
    typed = [walk.type(line) for line in lines]
    if told is not None:
        joined = "".join(each.output for each in typed)
        walk.typed[-1] = typed[-1]._replace(told=told, output=joined)
    _try_next(walk, typed[-1])


def _sum_up(walk: Walk) -> None:
    """Write how long it took up to the first rows that DuckDB printed."""
    commands = [each.command.split()[0] for each in walk.typed]
    done = walk.typed[: commands.index("duckdb") + 1]
    seconds, cpu = sum(each.seconds for each in done), sum(each.cpu for each in done)
    load = os.getloadavg()[0]
    walk.say(f"# pip install to rows in DuckDB: {seconds:.1f} s, CPU {cpu:.1f} s, load {load:.1f}")


def _ask(walk: Walk, query: str, told: str | None = None) -> None:
    walk.type(f"duckdb <<'SQL'\n{query}SQL", told)


def _try_next(walk: Walk, run: Typed) -> None:
    """Type what a run proposes to look at, once in each place."""
    if run.command.startswith("harvester run"):
        for command in NEXT.findall(run.output):
            if command not in walk.tried:
                walk.tried.add(command)
                walk.type(command)


def walk_through(wheel: Path, folder: Path, log: Path, language: str) -> list[Typed]:
    """Walk through the pages of a language, and return what was typed."""
    with log.open("w", encoding="utf-8") as stream:
        walk = Walk(folder, stream, language)
        walk.say(f"$ env -i {' '.join(f'{key}={value}' for key, value in walk.environ.items())} sh")
        try:
            with serve_in_thread(walk.wechat) as address:
                install(walk, wheel)
                minute(walk)
                tutorial(walk, address)
                schedule(walk)
        finally:
            walk.close()
    return walk.typed


if __name__ == "__main__":
    wheel_file, log_folder, *names = sys.argv[1:]
    for spoken in names or LANGUAGES:
        with tempfile.TemporaryDirectory() as empty:
            log_file = Path(log_folder, f"{spoken}.log")
            walk_through(Path(wheel_file).resolve(), Path(empty), log_file, spoken)
