"""Scenes of runs in one process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harvester.core.calendar import parse_day
from harvester.sandbox import ANYONE, TOKEN, Rules
from harvester.sandbox.data import Row
from tests.golden_runs.registry import scene
from tests.golden_runs.stage import DAILY, HOURLY, SECRET, Stage, appid
from tests.support.faulty_wechat import Delayed, Fault, FaultyWeChat, Outage, Wire

OUTAGE_FIGURES = ("requests", "retries", "token_calls", "attempts", "count", "accounts", "names")

QUICK = 100.0
"""Clock of scenes in which no second may pass, because each second what is new is told."""


@scene()
def complete(stage: Stage) -> None:
    """Two datasets of two months; then there is nothing left to do."""
    stage.manifest["jobs"][0]["datasets"] = [DAILY, HOURLY]
    stage.days("2026-04-29", "2026-05-02")
    stage.run()
    stage.run()


@scene()
def many_at_once(stage: Stage) -> None:
    """Twelve accounts, several requests of each in flight."""
    stage.accounts(12)
    stage.manifest["limits"] = {"per_token": {"rate": "100000/s", "burst": 1000}}
    stage.manifest["output"]["buckets"] = 4
    stage.run()


@scene()
def merged(stage: Stage) -> None:
    """Later days of a month, and then all of them anew: files grow, and stay."""
    stage.run()
    stage.days("2026-05-02", "2026-05-05")
    stage.run()
    stage.run("--refetch", "all")


@scene()
def labelled(stage: Stage) -> None:
    """Names of accounts, labels, a selection, and a code that is turned into 0."""
    stage.manifest["accounts"][1] |= {"name": "Acme 微信", "tags": ["shop"]}
    stage.world.fail(appid(2), 48001)
    stage.run("--label", "team=growth", "--label", "ticket=A 1", "--accounts", "tag:shop")
    stage.run("--accounts", "Acme 微信", "--refetch", "refused", "--ok-exit", "3")


@scene()
def shards(stage: Stage) -> None:
    """The two halves of the accounts, of which one is refused in part."""
    stage.accounts(8)
    stage.manifest["output"]["buckets"] = 4
    stage.world.fail(appid(1), 48001)
    stage.run("--shard", "1/2")
    stage.run("--shard", "2/2")


@scene()
def folder_in_place_of_a_file(stage: Stage) -> None:
    """The output on this disk cannot be read, which is for a person."""
    place = stage.folder / "out" / DAILY / "ref_month=2026-05" / "part-0000-of-0001.parquet"
    place.mkdir(parents=True)
    stage.run()


@scene()
def provisional(stage: Stage) -> None:
    """Days that are not settled are asked again on the next day; twice on one day they are not."""
    stage.accounts(1)
    stage.manifest["jobs"][0]["datasets"] = ["biz_summary", DAILY]
    stage.days("2026-05-08", "yesterday")
    stage.run()
    stage.run()
    stage.at("2026-05-21")
    stage.run()


@scene()
def before_the_ready_hour(stage: Stage) -> None:
    """The newest day is not wanted yet, and the run says when it is."""
    stage.at("2026-05-20", 7 * 60)
    stage.days("2026-05-17", "yesterday")
    stage.run()


@scene()
def empty_days(stage: Stage) -> None:
    """An account without rows, and one without them on its newest days."""
    stage.world.add_data_fault(Outage(appid=appid(1)))
    stage.world.add_data_fault(Outage(appid=appid(2), begin=parse_day("2026-05-18")))
    stage.days("2026-05-15", "yesterday")
    stage.run()
    stage.run("--refetch", "empty")


@scene()
def suspicious_gap(stage: Stage) -> None:
    """Days without rows between days with rows, until they are asked again."""
    gap = Outage(appid=appid(2), begin=parse_day("2026-03-03"), end=parse_day("2026-03-20"))
    stage.world.add_data_fault(gap)
    stage.manifest["jobs"][0]["datasets"] = ["user_summary"]
    stage.days("2026-03-01", "2026-03-31")
    stage.run()
    stage.world.remove_data_fault(gap)
    stage.run("--refetch", "empty")


@scene()
def wrong_secret(stage: Stage) -> None:
    """One account is refused its token; mended, the next run is complete."""
    stage.world.fail(appid(2), 40125, dataset=TOKEN)
    stage.run()
    stage.world.heal(appid(2), dataset=TOKEN)
    stage.run()


@scene()
def frozen_secret(stage: Stage) -> None:
    """The secret of one account is frozen, another account is; unfrozen, the rest is asked."""
    stage.world.fail(appid(1), 40243, dataset=TOKEN)
    stage.world.fail(appid(3), 50007)
    stage.run()
    stage.world.heal(appid(1), dataset=TOKEN)
    stage.world.heal(appid(3))
    stage.run()


@scene()
def credentials(stage: Stage) -> None:
    """A command that fails, a token that has ended and one that is rejected: none is got anew."""
    failing, ended, rejected = stage.manifest["accounts"]
    failing["credential"] = {"token_command": ["false"]}
    ended["credential"] = {"token": "${GOLDEN_SECRET}", "expires_at": "2026-05-19T00:00:00Z"}
    rejected["credential"] = {"token": "${GOLDEN_TOKEN}"}
    stage.run()


@scene()
def unauthorised(stage: Stage) -> None:
    """No account gets a token, for two causes."""
    stage.world.fail(appid(1), 40013, dataset=TOKEN)
    stage.world.fail(appid(2), 40125, dataset=TOKEN)
    stage.world.fail(appid(3), 40164, dataset=TOKEN)
    stage.run()


@scene()
def token_expired(stage: Stage) -> None:
    """Rejected tokens are renewed: once, and again and again."""
    stage.world.fail(appid(1), 42001, times=1)
    stage.world.fail(appid(2), 40001)
    stage.run()


@scene()
def token_is_no_json(stage: Stage) -> None:
    """The endpoint of tokens answers what is no token."""
    stage.accounts(2)
    stage.world.fail(appid(2), Fault(body=b'{"access_token": 5}'), dataset=TOKEN)
    stage.run()


@scene()
def no_permission(stage: Stage) -> None:
    """One account may not use an API, one is limited altogether."""
    stage.manifest["jobs"][0]["datasets"] = [DAILY, HOURLY]
    stage.world.fail(appid(1), 48001, dataset=DAILY)
    stage.world.fail(appid(2), 50002)
    stage.run()


@scene()
def unknown_code(stage: Stage) -> None:
    """A code that nobody knows stops the window that meets it."""
    stage.world.fail(appid(2), Fault(errcode=99999, errmsg="a new \x1b[31mtrouble"), times=1)
    stage.run()


@scene()
def quota_is_spent(stage: Stage) -> None:
    """45009 for one account; the rest is there on the next day."""
    stage.world.fail(appid(2), 45009)
    stage.run()
    stage.run()
    stage.world.heal(appid(2))
    stage.run("--ignore-spent-quota")


@scene(rules=Rules(daily_quota=4))
def quota_is_met(stage: Stage) -> None:
    """More days than calls; midnight renews them."""
    stage.accounts(1)
    stage.manifest["jobs"][0]["datasets"] = [HOURLY]
    stage.manifest["limits"] |= {"daily_quota": 4, "daily_reserve": 1}
    stage.days("2026-05-01", "2026-05-05")
    stage.run()
    stage.at("2026-05-21")
    stage.run()


@scene()
def not_ready(stage: Stage) -> None:
    """61503 after the ready hour."""
    stage.world.fail(appid(2), 61503)
    stage.days("2026-05-18", "yesterday")
    stage.run()


@scene()
def computing(stage: Stage) -> None:
    """``is_delay``: WeChat is still computing the days of an account."""
    stage.manifest["jobs"][0]["datasets"] = ["article_read"]
    stage.world.add_data_fault(Delayed(appid=appid(2), days=9))
    stage.days("2026-05-15", "yesterday")
    stage.run()


@scene(loose=OUTAGE_FIGURES, when="long")
def bad_gateway(stage: Stage) -> None:
    """WeChat answers 503 to everything."""
    stage.at("2026-05-20", factor=QUICK)
    stage.world.fail(ANYONE, Fault(status=503, body=b"<html>busy", content_type="text/html"))
    stage.run()


@scene(loose=OUTAGE_FIGURES, when="long")
def closed_connections(stage: Stage) -> None:
    """WeChat answers, and then closes every connection."""
    stage.at("2026-05-20", factor=QUICK)
    stage.world.fail(appid(1), Fault())
    stage.manifest["retry"]["max_attempts"] = 6
    stage.world.fail(ANYONE, Fault(wire=Wire.CLOSE))
    stage.run()


@scene(loose=OUTAGE_FIGURES, when="slow")
def failure_becomes_outage(stage: Stage) -> None:
    """A failed window is told, and is over when the run ends in an outage, which defers it."""
    stage.at("2026-05-20", factor=4.0)
    page = Fault(status=503, body=b"<html>busy", content_type="text/html")
    stage.world.fail(appid(1), page)
    # So slow that more than a second passes between the first failed window and the end.
    for number in (2, 3):
        stage.world.fail(appid(number), replace(page, delay=1.0))
    stage.run()


@scene(loose=OUTAGE_FIGURES, when="slow")
def foreign_page(stage: Stage) -> None:
    """A page of a sign-in stands between this machine and WeChat."""
    stage.at("2026-05-20", factor=4.0)
    page = Fault(body=b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
    stage.world.fail(ANYONE, page)
    stage.world.fail(ANYONE, page, dataset=TOKEN)
    stage.run()


@scene(loose=("progress",), when="slow")
def minute_limit(stage: Stage) -> None:
    """45011 once: the account waits for the next minute."""
    stage.at("2026-05-20", 12 * 60 + 0.7, factor=6.0)
    stage.world.fail(appid(2), 45011, times=1)
    stage.run()


@scene()
def system_error(stage: Stage) -> None:
    """-1 once is repeated; -1 again and again fails the window."""
    stage.world.fail(appid(1), -1, times=1)
    stage.world.fail(appid(2), -1, times=2)
    stage.run()


def _with(**members: object) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{**row, **members} for row in rows]


@scene()
def quarantined(stage: Stage) -> None:
    """A number that is a word; sound again, the day is asked anew by name."""
    stage.world.fail(appid(2), Fault(alter=_with(callback_count="many")), times=1)
    stage.run()
    stage.run()
    stage.run("--refetch", "quarantined")


@scene()
def drift(stage: Stage) -> None:
    """A member that nobody knows, and a row of another day."""
    stage.world.fail(appid(1), Fault(alter=_with(new_member=1)), times=1)
    other = Fault(alter=lambda rows: rows + [{**row, "ref_date": "2025-01-01"} for row in rows])
    stage.world.fail(appid(2), other, times=1)
    stage.run()


@scene()
def twice_the_same_row(stage: Stage) -> None:
    """Two rows of one key that differ, and two that do not."""
    stage.world.fail(appid(1), Fault(alter=lambda rows: rows + rows), times=1)
    differing = Fault(alter=lambda rows: rows + _with(callback_count=1)(rows))
    stage.world.fail(appid(2), differing, times=1)
    stage.run()


@scene()
def learnt(stage: Stage) -> None:
    """A code of every window is met by a few calls, and the rest is deferred."""
    stage.days("2026-03-01", "2026-04-30")
    stage.world.fail(appid(2), 61501)
    stage.run()
    stage.run()


@scene(when="slow")
def time_budget(stage: Stage) -> None:
    """The first account is done, the second one's answer does not come in time."""
    stage.world.fail(appid(2), Fault(delay=6.0))
    stage.run("--max-duration", "4s")


@scene(when="long")
def stopped(stage: Stage) -> None:
    """SIGTERM while an answer is awaited."""
    stage.world.fail(appid(2), Fault(delay=60.0))
    process = stage.start()
    stage.wait_for_calls(2)
    process.terminate()
    stage.finish(process)
    stage.world.heal(appid(2))
    stage.run()


@scene(when="slow")
def stopped_by_other_signals(stage: Stage) -> None:
    """SIGINT, then SIGHUP, while an answer is awaited."""
    stage.world.fail(appid(2), Fault(delay=60.0))
    for number in (signal.SIGINT, signal.SIGHUP):
        before = stage.calls()
        process = stage.start()
        # The first run asks the first account as well, which the second one has no need to ask.
        stage.wait_for_calls(before + (1 if before else 2))
        process.send_signal(number)
        stage.finish(process)


@scene(when="long")
def busy_and_killed(stage: Stage) -> None:
    """Another run holds the output; it is killed, and what it has asked is not asked again."""
    stage.world.fail(appid(2), Fault(delay=60.0))
    process = stage.start()
    stage.wait_for_calls(2)
    stage.hidden[str(process.pid)] = "<pid>"
    stage.run()
    process.kill()
    process.communicate()
    stage.world.heal(appid(2))
    stage.run()


@scene()
def too_many_requests(stage: Stage) -> None:
    """The plan is larger than ``max_requests``."""
    stage.manifest["limits"]["max_requests"] = 2
    stage.run()


@scene()
def usage(stage: Stage) -> None:
    """Mistakes in options, in the manifest and in the environment."""
    stage.run("--shard", "3/2")
    stage.run("--no-such-option")
    stage.run("--accounts", "nobody")
    stage.manifest["accounts"][0]["credential"] = {"secret": "${NOT_SET}"}
    stage.run()
    stage.manifest |= {"acounts": 5}
    stage.manifest["jobs"][0]["datasets"] = ["interface_sumary", "article_summary"]
    stage.run()


@scene()
def no_room(stage: Stage) -> None:
    """A file stands where the output should be made."""
    stage.folder.joinpath("out").write_text("not a folder")
    stage.run()


@scene()
def clock_is_off(stage: Stage) -> None:
    """This machine is two hours behind WeChat, over midnight."""
    stage.at("2026-05-19", 23 * 60)
    _shift(stage.world, 7200.0)
    stage.days("2026-05-15", "2026-05-18")
    stage.run()
    stage.days("2026-05-15", "yesterday")
    stage.run()


def _shift(world: FaultyWeChat, seconds: float) -> None:
    """Let the clock of an emulator be ahead."""
    clock = world.now
    world.now = lambda: clock() + seconds


@scene()
def paused(stage: Stage) -> None:
    """One account is not asked, with its reason."""
    stage.manifest["accounts"][1] |= {"name": "Acme", "paused": "new secret asked for"}
    stage.run()


PLATFORM = "wx00000000000000ff"


def _platform(stage: Stage) -> dict[str, Any]:
    """Let two accounts authorise a platform, and the manifest be about them."""
    platforms = stage.world.platforms
    platforms.register(PLATFORM, SECRET)
    for number in (1, 2):
        platforms.authorise(PLATFORM, appid(number))
    ticket = stage.folder / "ticket"
    ticket.write_text(platforms.push_ticket(PLATFORM))
    ticket.chmod(0o600)
    platform: dict[str, Any] = {
        "appid": PLATFORM,
        "secret": "${GOLDEN_SECRET}",
        "verify_ticket": "${file:ticket}",
        "sink": {"file": "refresh/{appid}"},
    }
    del stage.manifest["accounts"]
    stage.manifest["defaults"] = {"owns_tokens": True}
    stage.manifest |= {"platform": platform, "accounts_from": "platform"}
    return platform


@scene()
def platform(stage: Stage) -> None:
    """The platform lists its accounts and gets their tokens; of one it does not."""
    _platform(stage)
    stage.world.fail(appid(2), 61003, dataset=TOKEN)
    stage.run()


@scene()
def platform_is_refused(stage: Stage) -> None:
    """The platform's own token is refused, before any account is known."""
    _platform(stage)
    stage.world.fail(PLATFORM, 61004, dataset=TOKEN)
    stage.run()


@scene()
def platform_is_refused_later(stage: Stage) -> None:
    """The accounts are in the manifest, and the platform's own token is refused."""
    _platform(stage)
    del stage.manifest["accounts_from"]
    stage.manifest["accounts"] = [
        {"appid": appid(number), "credential": {"refresh_token": token}}
        for number, token in ((1, "${GOLDEN_SECRET}"), (2, "${GOLDEN_TOKEN}"))
    ]
    stage.world.fail(PLATFORM, 61005, dataset=TOKEN)
    stage.run()
