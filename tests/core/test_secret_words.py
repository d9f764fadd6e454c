from __future__ import annotations

import pytest

from harvester.core.text.secret_words import (
    has_secret_parameter,
    holds_secret,
    is_secret_name,
    mask_named,
    mask_words,
)

APPSECRET = "5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0"


@pytest.mark.parametrize(
    "word",
    [
        APPSECRET,
        APPSECRET.upper(),
        APPSECRET[:-2],
        f"appsecret_{APPSECRET}_of_acme",
        "77_" + "aB3-_" * 24,
        "VW5kZXIgdGhlIGNvdmVycw9-_x1kQmZ0aXMgYW5k",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "TrnXk5kOw%2BUP0pgvfjw3BQKZvhVTOSAP",
    ],
)
def test_words_that_look_like_secrets_are_masked(word: str) -> None:
    """AppSecrets, also with two digits missing, and tokens are recognised by their form."""
    assert holds_secret(word)
    assert mask_words(f"it is {word}, see") == "it is ***, see"


@pytest.mark.parametrize(
    "text",
    [
        "wx5ec2e7c0ffee5ec2",
        "a oLVPpjqs9BhvzwPj5A-vTYAX3GLc of ocMvos6NjeKLIBqg5Mr9QjxrP1FA7",
        "rid: 6371b685-50ea5c73-12ae17eb",
        "20260131T235959Z-1a2b3c",
        "22474836501234567890123456789012",
        "2026-06-15T12:00:00+08:00 2026-06-15_2026-07-15_2026-08-15",
        "/srv/wechat/output/interface_summary_hour/ref_month=2026-05/part-0000-of-0001.parquet",
        "/home/ci/builds/acme-shops-2024/test_a_run_that_is_killed_7_times_in_a_row0/_harvester",
        "550e8400-e29b-41d4-a716-446655440000",
        "int_page_from_kanyikan_read_user_2",
        "internal-k8s-tokens-ingress-0a1b2c3d4e-1234567890.example.com",
        "access_token is invalid, could get access_token by getStableAccessToken",
        "https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html",
    ],
)
def test_ids_dates_paths_and_hosts_stay_readable(text: str) -> None:
    """Ids of accounts, users, messages and requests, dates, paths and names are not masked."""
    assert not holds_secret(text)
    assert mask_words(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "gave no token: a command ended with exit code 1",
        "cannot write the token: read-only file system",
        "gave no secret: can't open the vault",
        "no such secret: wechat/wx5ec2e7c0ffee5ec2",
        "error at secret: /secret/wechat/wx5ec2e7c0ffee5ec2: permission denied",
        "no ticket: wx5ec2e7c0ffee5ec2 has none",
    ],
)
def test_a_sentence_goes_on_behind_a_colon(text: str) -> None:
    """Words and the paths of accounts are no secrets."""
    assert mask_named(text) == text


def test_values_named_like_secrets_are_found() -> None:
    """Names are recognised in a sentence, as a header, and in the query of a URL."""
    assert (
        mask_named("appsecret: x, token='y', ticket=z") == "appsecret: ***, token='***', ticket=***"
    )
    assert mask_named("a key: of the row") == "a key: of the row"
    assert mask_named("the token: correct-horse-battery") == "the token: ***"
    assert mask_named("secret=read-only token:read-only") == "secret=*** token:***"
    assert mask_named("secret: wx5ec2e7c0ffee5ec2e7c0") == "secret: ***"
    assert [is_secret_name(name) for name in ("X-Api-Key", "Cookie", "Accept")] == [1, 1, 0]
    urls = ("https://t/?a=1&sig=x", "https://t/?a=1&sig=${SIG}", "https://t/key?a=1")
    assert [has_secret_parameter(url) for url in urls] == [1, 0, 0]
