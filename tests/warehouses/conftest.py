"""An output that all tests of the warehouses read."""

from __future__ import annotations

from pathlib import Path

import pytest

import harvester
from harvester.testing import sandbox

DATASETS = [
    *("user_summary", "user_cumulate", "biz_summary", "article_total_detail"),
    *("upstream_msg", "upstream_msg_dist", "interface_summary"),
]


@pytest.fixture(scope="session")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month of four accounts up to a day in May, as a run wrote it.

    Three have a client, and the fourth one may not use an API. A name begins with =.
    """
    folder = tmp_path_factory.mktemp("warehouse")
    with sandbox(accounts=4, today="2026-05-20") as wechat:
        manifest = wechat.manifest(DATASETS, output=str(folder / "output"))
        manifest["jobs"][0] |= {"begin_date": "2026-04-20", "end_date": "2026-05-19"}
        clients = ("Acme", "晨光/书店", "Acme")
        for number, (account, client) in enumerate(
            zip(manifest["accounts"], clients, strict=False)
        ):
            account |= {"attributes": {"client": client}, "name": f"=账号 {number}"}
        wechat.fail(wechat.accounts[3], 48001, dataset="biz_summary")
        harvester.run(manifest)
    return folder / "output"
