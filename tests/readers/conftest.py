"""An emulator that all tests of the API share, and an output for each, or for many that read."""

from __future__ import annotations

import pytest

import harvester
from tests.support.harvested_output import Lab, harvest, opened
from tests.support.store_backends import CREDENTIALS, download, output_in


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The output in a folder, one for the tests of a module: they only read."""
    folder = tmp_path_factory.mktemp("lab") / "output"
    return Lab(harvest(folder), harvester.open(folder), folder)


@pytest.fixture(scope="module")
def on_objects(s3_address: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The output in an object store, one for the tests of a module: they only read."""
    folder = tmp_path_factory.mktemp("objects")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        harness = harvest(folder / "unused", output_in(s3_address))
        copy = download(harness.tree.store, folder / "copy")
        return Lab(harness, opened(harness.place), copy)


@pytest.fixture(params=["disk", "objects"])
def lab(request: pytest.FixtureRequest) -> Lab:
    """The output on each backend in turn."""
    if request.param == "objects":
        request.getfixturevalue("s3_keys")
    found: Lab = request.getfixturevalue(f"on_{request.param}")
    return found
