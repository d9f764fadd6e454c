"""No message about a manifest repeats a text that could be a secret."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hypothesis
import hypothesis.strategies as st
import pytest
import yaml

from harvester.core import calendar
from harvester.core.config import credentials
from harvester.core.config.field_types import AmbiguousScalar
from harvester.core.config.settings import Account, Credential, Manifest, Output
from harvester.core.errors import ManifestError, UsageError
from harvester.core.secret import Secret
from harvester.manifest import loader
from harvester.manifest.option_values import place_named
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.manifest.yaml_reader import parse_scalar
from harvester.readers.output_place import place_of
from tests.support.nights import few_by_day

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
ONE = "wx0000000000000001"
APPSECRET = "5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0"
TOKEN = "77_S3cr3tT0ken" + "aB3-_" * 24

FULL: dict[str, Any] = {
    "version": 1,
    "api": {"base_url": "https://api.weixin.qq.com", "timeout": "30s", "proxy": "http://p:1"},
    "defaults": {"credential": {"secret": "${A}"}, "tags": ["a"], "begin_date": "2020-01-01"},
    "accounts": [
        {"appid": ONE, "name": "n", "tags": ["a", "b"], "credential": {"token": "${T}"}},
        {"appid": "wx0000000000000002", "end_date": "2024-01-01", "owns_tokens": True},
        {
            "appid": "wx0000000000000003",
            "credential": {"token_command": ["get", "{appid}"], "timeout": "5s"},
        },
        {
            "appid": "wx0000000000000004",
            "credential": {
                "token_url": "https://tokens.internal/{appid}?key=${K}",
                "headers": {"Authorization": "Bearer ${K}", "Accept": "text/plain"},
            },
        },
        {
            "appid": "wx0000000000000005",
            "credential": {"token": "${T}", "expires_at": "2026-06-15T12:00:00Z"},
            "legacy_token": False,
        },
        {
            "appid": "wx0000000000000006",
            "credential": {"refresh_token": "${R}"},
            "owns_tokens": True,
        },
    ],
    "platform": {
        "appid": "wx0000000000000009",
        "secret": "${P}",
        "verify_ticket": {"url": "https://tickets.internal/", "headers": {"X-Key": "${K}"}},
        "sink": {"command": ["keep", "{appid}"], "timeout": "5s"},
    },
    "accounts_from": "platform",
    "jobs": [
        {"name": "j", "datasets": ["all"], "accounts": [ONE], "begin_date": "-30d"},
        {"accounts": {"tags": ["a"], "except": [ONE]}, "end_date": "yesterday"},
    ],
    "limits": {"per_token": {"rate": "1/s", "burst": 1}, "connections": 5},
    "retry": {"initial_delay": "1s"},
    "output": {"path": "x", "buckets": 1, "must_exist": False},
    "datasets": {"interface_summary": {"span": 7, "ready_at": "11:00", "settle": "5d"}},
}


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a manifest."""
    yield path
    for step in (
        node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    ):
        yield from paths(node[step], (*path, step))


def planted(path: tuple[Any, ...], secret: Any, *, as_key: bool) -> Any:
    """Return the full manifest with a secret in place of one value or key."""
    tree = copy.deepcopy(FULL)
    parent: Any = tree
    for step in path[:-1]:
        parent = parent[step]
    if not path:
        return secret
    if as_key and isinstance(parent, dict):
        parent[secret] = parent.pop(path[-1])
    else:
        parent[path[-1]] = secret
    return tree


def told(file: Path) -> str:
    """Return all texts of the error about a manifest, or an empty text."""
    try:
        loader.read(file, environ={}, now=NOW).manifest()
    except ManifestError as error:
        return everything_in(error)
    return ""


def everything_in(error: BaseException | None) -> str:
    """Return all that a reporter could print of an error: text, attributes, causes."""
    if error is None:
        return ""
    parts = [str(error), repr(error), repr(error.args), repr(getattr(error, "__dict__", ""))]
    return "\n".join(parts) + everything_in(error.__context__) + everything_in(error.__cause__)


@pytest.mark.long
@pytest.mark.parametrize("as_key", [False, True], ids=["value", "key"])
@pytest.mark.parametrize(
    ("secret", "style"),
    few_by_day(
        product([APPSECRET, TOKEN], [None, '"', "'", "|", ">"]), [(APPSECRET, None), (TOKEN, ">")]
    ),
)
def test_a_secret_in_the_wrong_place(
    secret: str, style: str | None, tmp_path: Path, *, as_key: bool
) -> None:
    """A secret in place of any value or key is in neither the error nor its causes."""
    file = tmp_path / "jobs.yaml"
    refused = 0
    for path in paths(FULL):
        tree = planted(path, secret, as_key=as_key)
        file.write_text(yaml.safe_dump(tree, default_style=style, allow_unicode=True))
        text = told(file)
        refused += bool(text)
        assert secret not in text
        assert secret[:20] not in text
    assert refused > 60


@pytest.mark.long
@hypothesis.given(data=st.data())
@hypothesis.settings(
    max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_a_cut_or_patched_file_repeats_no_secret(tmp_path: Path, data: st.DataObject) -> None:
    """The error about a damaged manifest with a literal secret does not repeat the secret."""
    text = yaml.safe_dump(FULL).replace("${A}", APPSECRET)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 30))
    patch = data.draw(st.text(st.sampled_from("{}[]:,&*!|>%@`\"'#-?\t\n $ax"), max_size=4))
    file = tmp_path / "jobs.yaml"
    file.write_text(text[:at] + patch + text[at + cut :])
    assert APPSECRET[:16] not in told(file)
    assert APPSECRET[-16:] not in told(file)


@hypothesis.given(st.one_of(st.text(), st.binary()))
@hypothesis.settings(
    max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused_with_a_manifest_error(tmp_path: Path, content: str | bytes) -> None:
    """The reader raises ManifestError for any file, and no other exception."""
    file = tmp_path / "jobs.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))
    with pytest.raises(ManifestError):
        loader.read(file, environ={}, now=NOW).manifest()


@hypothesis.given(
    st.one_of(
        st.text(st.sampled_from("0123456789abcdefxo_:.-+TZnyNYtrues ~=<"), max_size=12),
        st.from_regex(r"[-+]?[0-9][0-9_]*(\.[0-9]*)?([eE][-+]?[0-9]+)?", fullmatch=True),
        st.sampled_from(["no", "Off", "~", "null", "0x1F", "0o17", "1:30", "2024-01-01", ".nan"]),
    )
)
def test_unquoted_scalars_are_read_as_written(text: str) -> None:
    """An unquoted word is plain text only if YAML reads it as text, and else marked as doubtful."""
    value = parse_scalar(text)
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if value is not None:
        assert value == text
        assert isinstance(value, AmbiguousScalar) or tag == "tag:yaml.org,2002:str"


def account(credential: Credential, name: str = "") -> Account:
    """Return an account with a credential."""
    return Account(ONE, name, credential=credential)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    with patch.dict(os.environ):
        yield


def opened(one: Account, folder: Path, environ: dict[str, str]) -> credentials.Access:
    """Return the resolved credential of an account, of a manifest in a folder."""
    os.environ.update(environ)
    made = Manifest(folder / "jobs.yaml", (one,), (), Output(), {})
    return CredentialReader().access(made, one)


def test_a_credential_is_resolved_for_each_account(tmp_path: Path) -> None:
    """A reference names a variable or file of each account; line ends are removed."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / ONE).write_text(f"{APPSECRET}\r\n")
    (tmp_path / "secrets" / "acme").write_text(f"\ufeff{TOKEN}", "utf-8")
    environ = {"A": APPSECRET, f"S_{ONE}": f"{APPSECRET}\n"}

    def read(credential: Credential) -> Secret:
        found = opened(account(credential, "acme"), tmp_path, environ)
        if isinstance(found, credentials.AppSecret):
            return found.secret
        assert isinstance(found, credentials.SecretReader)
        return found.read()

    assert read(Credential(secret="${A}")).reveal() == APPSECRET
    assert read(Credential(secret="${S_{appid}}")).reveal() == APPSECRET
    assert read(Credential(secret="${file:secrets/{appid}}")).reveal() == APPSECRET
    assert read(Credential(secret=f"${{file:{tmp_path}/secrets/{{appid}}}}")).reveal() == APPSECRET
    assert read(Credential(token="${file:secrets/{name}}")).reveal() == TOKEN


@pytest.mark.parametrize(
    ("reference", "name", "says"),
    [
        ("${GONE}", "", "refers to the variable `GONE`, which is not set"),
        ("${EMPTY}", "", "refers to the variable `EMPTY`, which is empty"),
        ("${NEWLINE}", "", "refers to the variable `NEWLINE`, which is empty"),
        ("${file:gone/{appid}}", "", f"refers to the file `gone/{ONE}`, which does not exist"),
        ("${file:.}", "", "refers to the file `.`, which is a directory"),
        ("${file:empty}", "", "refers to the file `empty`, which is empty"),
        ("${file:large}", "", "refers to the file `large`, which is larger than 64 KiB"),
        ("${file:{name}}", "", "needs {name}, but the account has no name"),
        ("${file:{name}}", "../x", "needs {name}, but the account's name cannot be part of a path"),
        (
            "${file:a/{name}/b}",
            "..",
            "needs {name}, but the account's name cannot be part of a path",
        ),
        ("${TWO}", "", "refers to more than one word"),
        ("${LINES}", "", "refers to more than one word"),
    ],
)
def test_references_that_fail(tmp_path: Path, reference: str, name: str, says: str) -> None:
    """The error names the account and the variable or file, and never its content."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 70_000)
    environ = {"EMPTY": "", "NEWLINE": "\n", "TWO": "hunter2 x", "LINES": "hunter2\nx"}
    with pytest.raises(UsageError) as caught:
        opened(account(Credential(secret=reference), name), tmp_path, environ)
    whose = f"{ONE} ({name})" if name else ONE
    assert caught.value.problem == f"the credential of {whose} {says}"
    assert caught.value.advice.endswith("it must give the account's AppSecret and nothing else")
    assert "hunter2" not in everything_in(caught.value)


def test_a_manifest_that_is_being_read_shows_no_secret(tmp_path: Path) -> None:
    """The values of the file and the environment are in no repr, before and after the last step."""
    file = tmp_path / "jobs.yaml"
    file.write_text(
        f'api: {{base_url: sandbox, proxy: "${{PROXY}}"}}\naccounts: [{{appid: {ONE}}}]\n'
        "jobs: [{}]\n"
    )
    environ = {"PROXY": "http://me:hunter2@localhost:1", "OTHER": APPSECRET}
    draft = loader.read(file, environ=environ, now=NOW)
    seen = f"{draft!r} {draft.context!r} {draft.manifest()!r}"
    assert "hunter2" not in seen
    assert APPSECRET not in seen


@pytest.mark.parametrize("scheme", ["https", "s3", "az"])
@pytest.mark.parametrize("rest", ["me:hunter2@host/page.html", "host/folder?sig=hunter2"])
def test_an_address_in_an_argument_is_not_repeated(scheme: str, rest: str) -> None:
    """It may hold a password or a signature, which have no form of their own."""
    address = f"{scheme}://{rest}"
    for given in (address, address), ("s3://bucket", f"http://{rest}"):
        with pytest.raises(UsageError) as caught:
            place_of(given[0], given[1], {})
        assert "hunter2" not in everything_in(caught.value)
    with pytest.raises(UsageError) as caught:
        place_named(address)
    assert "hunter2" not in everything_in(caught.value)
