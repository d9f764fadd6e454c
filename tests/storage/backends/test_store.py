"""The promises of the store interface, on a disk and in an object store."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from unittest.mock import Mock

import obstore
import pytest
from obstore.exceptions import GenericError

from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, StoreAway, StoreError, StoreRefused, UsageError
from harvester.core.exit_codes import Exit
from harvester.storage.backends import object_client
from harvester.storage.backends.base import Store, Version, move, read_bytes, temp_path
from harvester.storage.backends.object_answers import put_mode
from harvester.storage.backends.object_client import TimeLimits
from harvester.storage.backends.object_store import ObjectStore
from harvester.storage.layout import Tree, open_tree
from harvester.storage.state import rewrite_journal
from tests.support.claims import claim
from tests.support.store_backends import Outputs, output_in, s3_process


def put(tree: Tree, name: str, data: bytes) -> None:
    """Write a small file."""
    tree.store.put(name, data)


def made(tree: Tree, data: bytes) -> Path:
    """A file that is whole and has no name yet."""
    temp = temp_path(tree.store, "made")
    temp.parent.mkdir(parents=True, exist_ok=True)
    temp.write_bytes(data)
    return temp


def version_of(tree: Tree, name: str) -> Version | None:
    """Return the version of a file, None if there is none."""
    blob = tree.store.get(name)
    return blob and blob.version


def names(store: Store, folder: str = "") -> list[str]:
    """The files below a folder."""
    return [found.name for found in store.list(folder)]


def test_what_is_written_is_read(tree: Tree) -> None:
    """A small file is there as it was written, replaced by a second one, and gone when removed."""
    assert read_bytes(tree.store, "a/b.json") is None
    put(tree, "a/b.json", b"one")
    put(tree, "a/b.json", b"two")
    assert read_bytes(tree.store, "a/b.json") == b"two"
    tree.store.delete("a/b.json")
    tree.store.delete("a/b.json")
    assert read_bytes(tree.store, "a/b.json") is None
    assert names(tree.store) == []


def test_a_listing_is_by_name_and_of_one_folder(tree: Tree) -> None:
    """Folders with a name that begins alike are others; sizes and versions tell files apart."""
    for name in ("d/y", "d/x/1", "d2/z", "d/x/0"):
        put(tree, name, name.encode())
    assert names(tree.store, "d") == ["d/x/0", "d/x/1", "d/y"]
    assert names(tree.store) == ["d/x/0", "d/x/1", "d/y", "d2/z"]
    assert names(tree.store, "e") == []
    assert [found.size for found in tree.store.list("d2")] == [4]
    before = tree.store.list("d2")
    put(tree, "d2/z", b"else")
    assert tree.store.list("d2")[0].version != before[0].version


def test_the_ends_of_many_files(tree: Tree) -> None:
    """Ends come in the order asked for, whole files where they are shorter, None if one is gone."""
    for number in range(50):
        put(tree, f"d/{number:02d}", bytes([number]) * number)
    listed = tree.store.list("d")
    tree.store.delete("d/07")
    assert list(tree.store.get_many(reversed(listed), 10)) == [
        None if number == 7 else bytes([number]) * min(number, 10) for number in reversed(range(50))
    ]


def test_small_files_whole(tree: Tree) -> None:
    """They come in the order asked for, also those that grew since they were listed."""
    for number in range(20):
        put(tree, f"d/{number:02d}", b"x" * number)
    listed = tree.store.list("d")
    put(tree, "d/05", b"y" * 100)
    tree.store.delete("d/06")
    wanted = [b"x" * number for number in range(20)]
    assert list(tree.store.get_many(listed)) == [*wanted[:5], b"y" * 100, None, *wanted[7:]]
    assert list(tree.store.get_many([])) == []


@pytest.mark.parametrize("size", [3, 30, 3000])
def test_a_file_replaced_since_it_was_listed(tree: Tree, size: int) -> None:
    """Its end is that of the new file, be it longer or shorter."""
    put(tree, "d/x", b"o" * 100)
    listed = tree.store.list("d")
    put(tree, "d/x", b"n" * size)
    assert list(tree.store.get_many(listed, 20)) == [b"n" * min(size, 20)]


def test_a_put_file_has_the_contents_of_the_temporary_one(tree: Tree) -> None:
    """A file that was put is complete, and can be read in a block."""
    data = bytes(range(256)) * 5000
    tree.store.put("d/x", made(tree, data), None)
    with tree.store.local_copy("d/x") as copy:
        assert copy is not None
        assert copy.path.read_bytes() == data
    assert version_of(tree, "d/x") == copy.version
    tree.store.put("d/x", made(tree, b"new"), copy.version)
    assert version_of(tree, "d/x") not in {copy.version, None}
    assert tree.store.get("d/no") is None
    assert read_bytes(tree.store, "d/x") == b"new"
    with tree.store.local_copy("d/no") as nothing:
        assert nothing is None


def test_files_that_never_change(outputs: Outputs) -> None:
    """An appended file can be read at once, also by another run, and no more when removed."""
    mine, theirs = outputs(), outputs()
    paths = [mine.store.append(f"d/{n}", f"{n}".encode()) for n in range(3)]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    mine.store.delete("d/1")
    found = list(theirs.store.copies(["d/2", "d/1", "d/0"]))
    assert [path.read_bytes() if path and path.exists() else None for path in found] == [
        b"2",
        None,
        b"0",
    ]


def test_moving(tree: Tree) -> None:
    """A moved file has the new name alone; one that is not there is not moved."""
    put(tree, "a/x", b"data")
    assert move(tree.store, "a/x", "b/y")
    assert names(tree.store) == ["b/y"]
    assert not move(tree.store, "a/x", "b/z")


def test_a_tree_that_must_exist(outputs: Outputs, tree: Tree) -> None:
    """A new tree is refused, and accepted once it has any file of harvester."""
    with pytest.raises(UsageError, match="nothing was harvested") as caught:
        outputs(must_exist=True)
    assert tree.store.display_path() in caught.value.problem
    put(tree, "_harvester/runs/x.json", b"{}")
    outputs(must_exist=True)


# ---- what object stores alone promise


@pytest.fixture
def objects(s3_output: Output) -> Tree:
    """An output in an object store."""
    return open_tree(s3_output)


def test_a_lost_race_is_noticed(objects: Tree) -> None:
    """A file that another run made or replaced meanwhile is not overwritten."""
    objects.store.put("d/x", made(objects, b"theirs"), None)
    with pytest.raises(LostRace):
        objects.store.put("d/x", made(objects, b"ours"), None)
    version = version_of(objects, "d/x")
    objects.store.put("d/x", made(objects, b"newer"), version)
    with pytest.raises(LostRace):
        objects.store.put("d/x", made(objects, b"ours"), version)
    objects.store.delete("d/x")
    with pytest.raises(LostRace):
        objects.store.put("d/x", made(objects, b"ours"), version)
    assert read_bytes(objects.store, "d/x") is None


def test_the_probe_leaves_one_object(objects: Tree) -> None:
    """A store that keeps its promises is asked about them by each run, with the same object."""
    for _ in range(2):
        with objects.store.lock([], claim("ours")):
            objects.store.append("d/x", b"1")
            assert objects.store.scratch.exists()
        assert names(objects.store) == ["_harvester/locks/conditions", "d/x"]
        assert not objects.store.scratch.exists()


@pytest.mark.usefixtures("s3_keys")
@pytest.mark.parametrize("kind", ["--careless", "--unable"])
def test_a_store_that_ignores_conditions(kind: str) -> None:
    """A store that takes all of them or none is refused, unless there is but one writer."""
    with s3_process(kind) as address:
        output = output_in(address)
        tree = open_tree(output)
        with (
            pytest.raises(UsageError, match="ignores conditions") as caught,
            tree.store.lock([], claim("ours")),
        ):
            pass
        assert "single_writer: true`, which gives up the leases" in caught.value.advice
        alone = open_tree(Output(output.path, endpoint=output.endpoint, single_writer=True))
        with alone.store.lock([], claim("ours")):
            alone.store.put("d/x", made(alone, b"1"), None)
            alone.store.put("d/x", made(alone, b"2"), None)
        assert read_bytes(alone.store, "d/x") == b"2"


def every_call(tree: Tree) -> Iterator[StoreError]:
    """Each thing that can be done to a store, done."""
    store = tree.store
    for call in (
        lambda: store.list("d"),
        lambda: read_bytes(store, "d/x"),
        lambda: list(store.copies(["d/x"])),
        lambda: store.local_copy("d/x").__enter__(),
        lambda: store.put("d/x", made(tree, b"x"), None),
        lambda: store.put("d/x", made(tree, b"x")),
        lambda: store.put("d/x", b"x"),
        lambda: store.append("d/x", b"x"),
        lambda: move(store, "d/x", "d/y"),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        yield caught.value


def test_a_bucket_that_is_not_there(s3_output: Output) -> None:
    """Whatever is done first, the missing bucket is named, and nothing of the request is shown."""
    tree = open_tree(Output("s3://no-such-bucket/x", endpoint=s3_output.endpoint))
    for error in every_call(tree):
        assert error.problem == "s3://no-such-bucket/x: there is no such bucket"
        assert error.exit_code is Exit.AGAIN
    assert_refused_at_first(tree, "there is no such bucket")


def assert_refused_at_first(tree: Tree, problem: str) -> None:
    """The first request of a command, and the first put of a run, are mistakes of the user."""
    with pytest.raises(UsageError, match=problem):
        rewrite_journal.refuse_unfinished(tree)
    with pytest.raises(UsageError, match=problem), tree.store.lock([], claim("ours")):
        pass


@pytest.mark.usefixtures("s3_keys")
def test_a_host_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As likely a mistake as a bucket that is not there, if it is not for the moment."""
    output = Output("s3://bucket/x", endpoint="https://no-such-host.invalid")
    for words, kind in (
        ("Name or service not known", UsageError),
        ("Temporary failure in name resolution", StoreAway),
    ):
        said = GenericError(f'"dns error", "failed to lookup address information: {words}"')
        for name in ("get", "put", "list"):
            monkeypatch.setattr(obstore, name, Mock(side_effect=said))
        tree = Tree(ObjectStore(output, {}, TimeLimits(patience=0.0)))
        with pytest.raises(kind):
            rewrite_journal.refuse_unfinished(tree)
        with pytest.raises(kind), tree.store.lock([], claim("ours")):
            pass
    monkeypatch.setattr(
        obstore, "list", Mock(side_effect=GenericError("name or service not known"))
    )
    with pytest.raises(UsageError, match="host is unknown"):
        open_tree(replace(output, must_exist=True))


@pytest.mark.usefixtures("s3_keys")
def test_a_refusal_shows_no_secret() -> None:
    """The store's status and code are told; what it repeats of keys and signatures is not."""
    with s3_process("--refusing") as address:
        tree = open_tree(Output("s3://bucket/x", endpoint=address))
        for error in every_call(tree):
            assert "(403 SignatureDoesNotMatch)" in str(error)
            shown = "".join(traceback.format_exception(error))
            assert "AKIDEXAMPLE" not in shown
            assert "string-to-sign" not in shown
            assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in error.advice
            assert error.exit_code is Exit.AGAIN
        for alone in (False, True):
            output = Output("s3://bucket/x", endpoint=address, single_writer=alone)
            assert_refused_at_first(open_tree(output), "403 SignatureDoesNotMatch")


def test_a_folder_that_refuses_the_first_read_is_a_mistake_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's refusal is told with the path; a disk that fails is not one."""
    tree = open_tree(Output(tmp_path))
    for code, kind in ((errno.EACCES, UsageError), (errno.EIO, StoreError)):
        monkeypatch.setattr(os, "open", Mock(side_effect=OSError(code, "no")))
        with pytest.raises(kind, match=r"rewrite\.json: ") as caught:
            rewrite_journal.refuse_unfinished(tree)
        monkeypatch.undo()
        assert caught.value.exit_code is (Exit.USAGE if kind is UsageError else Exit.BUG)


@pytest.mark.usefixtures("s3_keys")
def test_a_store_that_cannot_be_reached() -> None:
    """A refused connection names the output, says what to look at, and may pass."""
    output = Output("s3://bucket/x", endpoint="http://127.0.0.1:9")
    tree = Tree(ObjectStore(output, {}, TimeLimits(patience=0.0)))
    for error in every_call(tree):
        assert error.problem == "s3://bucket/x: the store cannot be reached"
        assert error.exit_code is Exit.AGAIN
    with pytest.raises(StoreAway):
        rewrite_journal.refuse_unfinished(tree)


class CutShort:
    """An answer whose connection ends early without an error, as some stores let it."""

    def __init__(self, whole: obstore.GetResult) -> None:
        self.meta = whole.meta
        self._data = bytes(whole.bytes())

    def stream(self, *, min_chunk_size: int) -> Iterator[bytes]:
        del min_chunk_size
        yield self._data[:-1]


def test_a_download_that_ends_early_is_an_error(
    s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of a file is never read as the whole, and no copy of it is left."""
    tree = Tree(ObjectStore(s3_output, {}, TimeLimits(patience=0.0)))
    put(tree, "d/x", b"whole")
    get = obstore.get
    monkeypatch.setattr(obstore, "get", lambda *args: CutShort(get(*args)))
    with (
        pytest.raises(StoreError, match="d/x: came only in part"),
        tree.store.local_copy("d/x"),
    ):
        pass
    assert list(tree.store.scratch.iterdir()) == []


def test_what_a_put_replaces() -> None:
    """S3 and Azure know a version by its tag, Google by its generation. None has no name at all."""
    assert put_mode(None) == "create"
    assert put_mode(Version('"tag" ')) == {"e_tag": '"tag"'}
    assert put_mode(Version('"tag" 1700000000')) == {"e_tag": '"tag"', "version": "1700000000"}
    for nothing in (" ", "tag"):
        with pytest.raises(StoreError, match="no tags"):
            put_mode(Version(nothing))


class Google(BaseHTTPRequestHandler):
    """As much of Google's store as one object needs. Puts are told by what they were held to."""

    puts: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.puts.append(self.headers["x-goog-if-generation-match"])
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        told = {"ETag": '"tag"', "x-goog-generation": "1700000000", "Content-Length": "0"}
        for name, value in {**told, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_google_gets_the_generation_as_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put is held to the generation that is there, or to none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), Google) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        no_credentials = {
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        key = json.dumps({**no_credentials, "gcs_base_url": address})
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", key)
        tree = open_tree(Output("gs://bucket/place", endpoint=address))
        for over in (None, version_of(tree, "d/x")):
            tree.store.put("d/x", made(tree, b"1"), over)
        server.shutdown()
    assert Google.puts == ["0", "1700000000"]


def test_nothing_is_asked_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output in a store that is not there can be named; a wrong environment is told at once."""
    open_tree(Output("s3://bucket/x", endpoint="http://127.0.0.1:9"))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(UsageError, match="no usable credentials"):
        open_tree(Output("az://container/x"))


@pytest.mark.parametrize(
    ("answer", "problem", "advice"),
    [
        ("403 Forbidden: <Code>AccessDenied</Code>", "refused (403 AccessDenied)", "credentials"),
        ("400 Bad Request: <Code>ExpiredToken</Code>", "refused (400 ExpiredToken)", "credentials"),
        ("301 Moved Permanently", "in another region", "AWS_REGION"),
        ("400: <Code>AuthorizationHeaderMalformed</Code>", "in another region", "AWS_REGION"),
        ("404 Not Found: <Code>ContainerNotFound</Code>", "no such bucket", "make it"),
        ("503 Slow Down: <Code>SlowDown</Code>", "the store said 503 SlowDown", "run again"),
    ],
)
def test_errors_of_a_store_become_messages_with_advice(
    answer: str, problem: str, advice: str
) -> None:
    """The status and the store's code decide; the rest of its words is not repeated."""
    said = GenericError(f"PUT https://host/x?sig=hush - status code: {answer}")
    with pytest.raises(StoreError) as caught:
        object_client.answered("s3://b", "s3://b/x", Mock(side_effect=said), patience=0.0)
    assert caught.value.exit_code is Exit.AGAIN
    assert problem in caught.value.problem
    assert advice in caught.value.advice
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "said",
    [
        "Error performing PUT http://169.254.169.254/latest/api/token in 1ms - HTTP error",
        "Error performing PUT http://127.0.0.1:9/latest/api/token in 1ms - HTTP error",
        "Error performing token request: Error performing GET http://metadata/x in 1ms",
        "Failed to read token file '/run/token': No such file or directory (os error 2)",
    ],
)
def test_where_no_credentials_are_found(said: str) -> None:
    """Without any, the machine's own are asked for; that there are none is told as that."""
    error = GenericError(f"Generic S3 error: {said}")
    with pytest.raises(StoreRefused, match="no credentials were found"):
        object_client.answered("s3://b", "x", Mock(side_effect=error), patience=0.0)


@pytest.mark.parametrize(
    "said",
    [
        "Error performing GET https://tokens.host/wx-metadata/credential/x in 1ms - HTTP error",
        "Error performing GET https://host/b?continuation-token=x in 1ms - HTTP error",
        "Unable to extract metadata from headers: ETag Header missing from response",
    ],
)
def test_a_store_that_is_away_lacks_no_credentials_whatever_its_addresses_hold(said: str) -> None:
    """A name, or a page of a listing, is no sign of anything."""
    error = GenericError(f"Generic S3 error: {said}\n\nDebug source:\nGeneric {{\n  {said}\n}}")
    with pytest.raises(StoreAway, match="the store cannot be reached"):
        object_client.answered("s3://b", "x", Mock(side_effect=error), patience=0.0)
