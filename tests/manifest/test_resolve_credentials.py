"""Resolution of the credentials in a manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import pytest

from harvester.core import calendar
from harvester.core.config import credentials
from harvester.core.config.settings import Account, Credential, Manifest, Output
from harvester.core.errors import ManifestError, UsageError
from harvester.core.secret import Secret
from harvester.core.text.redaction import masked
from harvester.manifest import loader
from harvester.manifest.resolve_credentials import CredentialReader

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
ONE, TWO, THREE = (f"wx{number:016x}" for number in (1, 2, 3))
OTHER = "wx00000000000000ff"

Load: TypeAlias = Callable[..., Manifest]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A function that loads a manifest from its text, to which it adds a job."""

    def load(text: str, csv: str = "", authorised: tuple[str, ...] = ()) -> Manifest:
        (tmp_path / "accounts.csv").write_text(csv)
        file = tmp_path / "jobs.yaml"
        file.write_text(f"{text}\njobs: [{{}}]\n")
        return loader.read(file, environ={}, now=NOW).manifest(authorised)

    return load


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    with patch.dict(os.environ):
        yield


def opened(account: Account, folder: Path, **environ: str) -> credentials.Access:
    """Return an account's resolved credential."""
    os.environ.update(environ)
    made = Manifest(folder / "jobs.yaml", (account,), (), Output(), {})
    return CredentialReader().access(made, account)


def test_one_credential_in_defaults_serves_all_accounts(load: Load, tmp_path: Path) -> None:
    """Fields are replaced for each account, and an account's own credential wins."""
    made = load(
        """
defaults:
  credential:
    token_url: "https://tokens.internal/v1/{appid}?shop={name}"
    headers: {Authorization: "Bearer ${KEY}"}
accounts:
  - {appid: wx0000000000000001, name: "Café & Söhne"}
  - appid: wx0000000000000002
    name: b
    credential: {token_command: [get, "{appid}", "--for={name}"]}
  - {appid: wx0000000000000003, credential: {token_url: "https://tokens.internal/${PATH_OF_C}"}}
  - {appid: wx0000000000000004, credential: {token_url: "http://[::1]:8080/c", headers: {}}}
"""
    )
    one, two, three, four = made.accounts
    url = opened(one, tmp_path, KEY="k+/=&%12")
    assert isinstance(url, credentials.HttpSource)
    assert url.url.reveal() == f"https://tokens.internal/v1/{ONE}?shop=Caf%C3%A9%20%26%20S%C3%B6hne"
    assert masked("https://tokens.internal/v1/ Bearer k+/=&%12") == (
        "https://tokens.internal/v1/ Bearer ***"
    )
    assert url.headers == {"Authorization": Secret("Bearer k+/=&%12")}
    command = opened(two, tmp_path)
    assert command == credentials.Command(("get", TWO, "--for=b"), tmp_path, 10.0)
    other = opened(three, tmp_path, KEY="k", PATH_OF_C="c/d")
    assert isinstance(other, credentials.HttpSource)
    assert other.url.reveal() == "https://tokens.internal/c/d"
    assert other.headers == {"Authorization": Secret("Bearer k")}
    elsewhere = opened(four, tmp_path)
    assert isinstance(elsewhere, credentials.HttpSource)
    assert not elsewhere.headers


def test_an_accounts_file_has_a_column_for_each_way(load: Load) -> None:
    """A command is split as in a shell; booleans are true or false."""
    csv = (
        "appid,secret,token,expires_at,token_command,token_url,refresh_token,legacy_token,owns_tokens\n"
        "wx0000000000000001,,,,\"vault read -field='a b' {appid}\",,,,\n"
        "wx0000000000000002,,,,,https://t/{appid},,,\n"
        "wx0000000000000003,,,,,,${R},,true\n"
        "wx0000000000000004,${S},,,,,,true,false\n"
        "wx0000000000000005,,${T},1781524800,,,,,\n"
    )
    platform = 'platform: {appid: wx00000000000000ff, component_token: "${P}"}'
    made = load(f"{platform}\naccounts_file: {{path: accounts.csv, credentials: true}}", csv)
    assert [account.credential for account in made.accounts] == [
        Credential(token_command=("vault", "read", "-field=a b", "{appid}")),
        Credential(token_url="https://t/{appid}"),
        Credential(refresh_token="${R}"),
        Credential(secret="${S}"),
        Credential(token="${T}", expires_at="1781524800"),
    ]
    assert [account.appid for account in made.accounts if account.legacy_token] == [
        "wx0000000000000004"
    ]


@pytest.mark.parametrize("ends", ["2026-06-15T20:00:00+08:00", "1781524800", '"${ENDS}"'])
def test_a_token_may_have_an_expiry(load: Load, tmp_path: Path, ends: str) -> None:
    """The expiry is a moment, seconds, or a variable with one of them."""
    made = load(
        f'accounts: [{{appid: {ONE}, credential: {{token: "${{T}}", expires_at: {ends}}}}}]'
    )
    text = opened(made.accounts[0], tmp_path, T="t", ENDS="2026-06-15T12:00:00Z")
    assert isinstance(text, credentials.SecretReader)
    assert (text.read(), text.expires_at) == (Secret("t"), 1781524800.0)


def test_a_file_is_read_again(tmp_path: Path) -> None:
    """A token that another service replaces during a run is read again."""
    (tmp_path / "t").write_text("one\n")
    text = opened(Account(ONE, credential=Credential(token="${file:t}")), tmp_path)
    assert isinstance(text, credentials.SecretReader)
    (tmp_path / "t").write_text("two\n")
    assert text.read() == Secret("two")
    (tmp_path / "t").unlink()
    with pytest.raises(UsageError, match="refers to the file `t`, which does not exist"):
        text.read()


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (Credential(token="${T}", expires_at="${ENDS}"), "is not a moment"),
        (Credential(token_url="${NOWHERE}"), "refers to the variable `NOWHERE`, which is not set"),
        (Credential(token_url="${T}/x"), "is not an address"),
        (Credential(token_url="${PLAIN}/x"), "must be https"),
        (
            Credential(token_url="https://t/", headers={"A": "${LINES}"}),
            "has a header that is not one line",
        ),
        (
            Credential(refresh_token="${file:gone}"),
            "refers to the file `gone`, which does not exist",
        ),
    ],
)
def test_unusable_credentials_are_reported_before_the_first_request(
    tmp_path: Path, credential: Credential, says: str
) -> None:
    """The error names the account and the mistake, and no value."""
    environ = {
        "T": "hunter2",
        "ENDS": "hunter2",
        "PLAIN": "http://hunter2.internal",
        "LINES": "hunter2\nX: y",
    }
    with pytest.raises(UsageError) as caught:
        opened(Account(ONE, credential=credential), tmp_path, **environ)
    assert caught.value.problem == f"the credential of {ONE} {says}"
    assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!r}"


PLATFORM = """
platform:
  appid: wx00000000000000ff
  secret: "${P_{appid}}"
  verify_ticket: {command: [cat, "{appid}.ticket"], timeout: 2s}
  sink: {file: "refresh/{appid}"}
accounts_from: platform
defaults: {owns_tokens: true, tags: [all]}
accounts:
  - {appid: wx0000000000000002, name: two, credential: {token_url: "https://t/{appid}"}}
  - {appid: wx0000000000000001, name: one, begin_date: 2024-01-01}
"""


def test_accounts_of_the_platform_join_those_listed(load: Load) -> None:
    """They are merged by appid: listed accounts keep their settings, the others get defaults."""
    made = load(PLATFORM, authorised=(THREE, ONE))
    assert [(account.appid, account.name) for account in made.accounts] == [
        (TWO, "two"),
        (ONE, "one"),
        (THREE, ""),
    ]
    assert [account.credential for account in made.accounts] == [
        Credential(token_url="https://t/{appid}"),
        None,
        None,
    ]
    assert made.accounts[2].tags == {"all"}
    assert made.jobs[0].appids == (TWO, ONE, THREE)


def test_jobs_may_name_accounts_of_a_platform_that_was_not_asked_yet(load: Load) -> None:
    """Without authorised accounts such a job has no accounts, and that is no mistake."""
    made = load(PLATFORM.partition("accounts:\n")[0])
    assert (made.accounts, made.jobs[0].appids) == ((), ())


def test_the_platform_is_resolved(load: Load, tmp_path: Path) -> None:
    """The secret is found by the platform's appid, and each account has its own token file."""
    made = load(PLATFORM)
    os.environ[f"P_{OTHER}"] = "s"
    ready = CredentialReader().platform(made)
    assert ready is not None
    assert (ready.appid, ready.secret, ready.token) == (OTHER, Secret("s"), None)
    hidden = frozenset({f"P_{OTHER}"})
    assert ready.ticket == credentials.Command(("cat", f"{OTHER}.ticket"), tmp_path, 2.0, hidden)
    assert ready.sink is not None
    assert ready.sink(ONE) == tmp_path / "refresh" / ONE
    del os.environ[f"P_{OTHER}"]
    with pytest.raises(UsageError, match="the secret of the platform refers to the variable"):
        CredentialReader().platform(made)


def test_authorised_accounts_need_owns_tokens_in_defaults(load: Load) -> None:
    """Without it the manifest is refused, unless the defaults have another credential."""
    text = PLATFORM.replace("owns_tokens: true, ", "")
    with pytest.raises(ManifestError, match="needs `owns_tokens: true`"):
        load(text)
    url = 'credential: {token_url: "https://t/{appid}"}, '
    made = load(text.replace("defaults: {", f"defaults: {{{url}"), authorised=(THREE,))
    assert made.accounts[2].credential == Credential(token_url="https://t/{appid}")
