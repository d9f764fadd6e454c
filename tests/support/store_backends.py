"""Outputs on both backends, a folder and an object store, for the same tests."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harvester.core.config.settings import Output
from harvester.storage.backends.base import Store, read_bytes
from harvester.storage.layout import Tree, open_tree
from tests.support.s3_server import REQUESTS, TOLD

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "never-shown-anywhere-0123456789",
    "AWS_REGION": "us-east-1",
}


QUICK_LEASE = 1.0
"""The shortest lease that a manifest may have, in seconds, for runs that die at once."""


@dataclass(frozen=True)
class Outputs:
    """A function that opens the same output at each call, as a new run does."""

    output: Output

    def __call__(self, buckets: int = 1, *, must_exist: bool = False) -> Tree:
        """Open the output with a number of buckets."""
        return open_tree(replace(self.output, buckets=buckets, must_exist=must_exist))

    def beside(self, name: str) -> Output:
        """Return another output on the same backend, one for each name."""
        path = self.output.path
        return replace(
            self.output, path=path / name if isinstance(path, Path) else f"{path}/{name}"
        )


@contextmanager
def s3_process(*options: str) -> Iterator[str]:
    """Start an S3 server in a child process, and yield its address."""
    command = [sys.executable, "-m", "tests.support.s3_server", *options]
    pipe = subprocess.PIPE
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def make_bucket(endpoint: str) -> str:
    """Create a bucket with a new name, and return the name."""
    name = f"bucket-{secrets.token_hex(6)}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(request):
        return name


def output_in(endpoint: str) -> Output:
    """Return an output in a new bucket, where no run waits long for one that died."""
    place = f"s3://{make_bucket(endpoint)}/some/place"
    return Output(place, endpoint=endpoint, lease=3.0)


def conditions_sent(output: Output) -> dict[str, list[dict[str, str]]]:
    """Return the conditions of each put into an output by name, oldest first."""
    with urllib.request.urlopen(f"{output.endpoint}{TOLD}") as answer:
        told = json.load(answer)
    place = f"/{str(output.path).removeprefix('s3://')}/"
    sent: dict[str, list[dict[str, str]]] = {}
    for path, conditions in told:
        if path.startswith(place):
            sent.setdefault(path.removeprefix(place), []).append(conditions)
    return sent


def requests_to(output: Output) -> list[str]:
    """Return the requests that an output's store got so far, as method and name."""
    with urllib.request.urlopen(f"{output.endpoint}{REQUESTS}") as answer:
        told = json.load(answer)
    place = str(output.path).removeprefix("s3://")
    bucket = f"/{place.partition('/')[0]}?"
    ours = ((method, path) for method, path in told if path.startswith((f"/{place}/", bucket)))
    return [f"{method} {path.removeprefix(f'/{place}/')}" for method, path in ours]


def download(store: Store, folder: Path) -> Path:
    """Copy every file of an output into a folder, for readers without object stores."""
    for found in store.list(""):
        path = folder / found.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read_bytes(store, found.name) or b"")
    return folder


def all_names(tree: Tree, folder: str = "_harvester") -> list[str]:
    """Return the names of all files in a folder."""
    return [found.name for found in tree.store.list(folder)]
