"""Objects that are put over the version that was read, or only where there is none."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from harvester.core.errors import LostRace, StoreError
from harvester.core.text.inert_text import inert
from harvester.storage.backends import object_client
from harvester.storage.backends.base import Version, Versioned

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, PutResult
    from obstore.store import ObjectStore


class ConditionalObjects:
    """The objects below a prefix. Thread-safe. Every method raises StoreError."""

    def __init__(self, uri: str, store: ObjectStore) -> None:
        self._uri = uri
        self._store = store

    def read(self, name: str) -> Versioned | None:
        """Return the contents of an object and their version; None if there is none."""
        with self._translated_errors(name), object_client.missing_objects_ignored():
            answer = obstore.get(self._store, name)
            return Versioned(bytes(answer.bytes()), version_of(answer.meta))
        return None

    def put(self, name: str, source: Path | bytes, over: Version | None) -> Version:
        """Put an object over a version, None for none, and return the new version.

        Raises LostRace if another version is there, which may be this put itself: an answer that
        got lost is asked for again.
        """
        with self._translated_errors(name):
            try:
                # In one request, because a condition holds for a single request.
                done = obstore.put(
                    self._store, name, source, mode=put_mode(over), use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError):
                where = inert(f"{self._uri}/{name}")
                raise LostRace(f"{where}: another run replaced it meanwhile", "run again") from None
        return version_of(done)

    def _translated_errors(self, name: str) -> AbstractContextManager[None]:
        return object_client.translated_errors(self._uri, inert(f"{self._uri}/{name}"))


def version_of(meta: ObjectMeta | PutResult) -> Version:
    """Return the tag of an object, and for Google its generation."""
    return Version(f"{meta['e_tag'] or ''} {meta['version'] or ''}")


def put_mode(version: Version | None) -> PutMode:
    """Return the condition of a put over a version, None for none. Raises StoreError."""
    if version is None:
        return "create"
    tag, _, generation = version.rpartition(" ")
    if not tag:
        # Some stores ignore an empty condition, and others never accept it.
        raise StoreError("this store gives its objects no tags", "name another store")
    # obstore refuses a member without a value.
    return {"e_tag": tag, "version": generation} if generation else {"e_tag": tag}
