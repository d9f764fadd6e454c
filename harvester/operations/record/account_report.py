"""The accounts that need attention: dataset by dataset what they lack, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from harvester.catalogue.error_codes import Action
from harvester.core.model import Refusal
from harvester.operations.record.summary import AccountSummary, count_states, reason_of
from harvester.planning.windows import Wanted
from harvester.scheduling.account_queue import AbandonedDays, AccountQueue
from harvester.storage.coverage_scan import States


def with_trouble(
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    gone: Iterable[AbandonedDays],
    lanes: Iterable[AccountQueue],
) -> Iterator[AccountSummary]:
    """Every dataset of an account that lacks days, has odd ones, or was refused something.

    What is whole is not listed: of ten thousand accounts most are.
    """
    lost: defaultdict[tuple[str, str], list[AbandonedDays]] = defaultdict(list)
    for item in gone:
        lost[item.dataset, item.appid].append(item)
    spent = {(work.dataset.name, lane.appid): work for lane in lanes for work in lane.backlogs}
    for dataset, of_dataset in want.items():
        for appid, wanted in of_dataset.items():
            state, key = states[dataset][appid], (dataset, appid)
            if key in lost or wanted & ~state.covered or state.suspicious or state.quarantined:
                found = AccountSummary(
                    appid,
                    dataset,
                    count_states(wanted, state),
                    requests=spent[key].calls if key in spent else 0,
                    retries=spent[key].retries if key in spent else 0,
                )
                yield _with_reasons(found, lost.get(key, []))


def _with_reasons(found: AccountSummary, lost: list[AbandonedDays]) -> AccountSummary:
    reasons = [reason_of(item)[0] for item in lost]
    if found.days.quarantined:
        reasons.append("quarantined")
    codes = [item.why.errcode for item in lost if isinstance(item.why, Refusal)]
    return replace(
        found,
        failed=reasons.count("failed"),
        waits_for_quota=any(item.rule.action is Action.WAIT_FOR_QUOTA for item in lost),
        reasons=tuple(dict.fromkeys(reasons)),
        errcodes=tuple(dict.fromkeys(codes)),
    )
