"""How a bucket is reached, and what its errors mean.

What obstore says of an error holds addresses and signatures, so no more is shown of it than the
status and the store's own code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import AzureStore, GCSStore, S3Store

from harvester.core.errors import StoreError, UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

BEYOND_THE_END = "416"
"""The status of a range that an object does not have."""

KNOWS_NOT = {"405", "501"}
"""Statuses of stores that do not know what they are asked to do."""

_RETRY: RetryConfig = {"max_retries": 6}

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_WITHOUT_CREDENTIALS = re.compile(r"credential|metadata|169\.254|token", re.IGNORECASE)
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}
_REFUSED = {"401", "403", "ExpiredToken", "InvalidToken"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}

_MAKE_BUCKET = "make it, or correct `output.path`"
_CREDENTIALS = (
    "see that the environment holds credentials (AWS_…, GOOGLE_… or AZURE_…)"
    " that may list, read, write and delete there"
)
_REGION = "set AWS_REGION to the bucket's"
_NETWORK = "see that `output.endpoint` and the network are well, and run again"
_RENAME = "an object there cannot be named: remove it"
_AGAIN = "see what that means to this store, and run again"


def connect(uri: str, endpoint: str | None) -> ObjectStore:
    """The place in the bucket; asks nothing of it yet.

    Raises UsageError if what the environment says makes no sense.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    options: ClientConfig = {"connect_timeout": "10s", "timeout": "5min"}
    # Options of ours hide this variable from obstore.
    if (endpoint or "").startswith("http://") or environ.get("AWS_ALLOW_HTTP") == "true":
        options["allow_http"] = True
    kind, config = _kind(scheme, endpoint)
    try:
        store: ObjectStore = kind(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=options,
            retry_config=_RETRY,
        )
    except (BaseError, ValueError):
        problem = f"{uri}: the environment does not say how to reach it"
        raise UsageError(problem, _CREDENTIALS) from None
    return store


def _kind(scheme: str, endpoint: str | None) -> tuple[Any, dict[str, Any]]:
    if scheme == "gs":
        return GCSStore, {"base_url": endpoint} if endpoint else {}
    config: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    if scheme == "az":
        return AzureStore, config
    # One request for each removal: many stores that speak like S3 know no other.
    return S3Store, config | {"disable_bulk_delete": True}


@contextmanager
def translated_errors(uri: str, where: str) -> Iterator[None]:
    """Turn what obstore raises of an object into a StoreError in our own words."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise _refusal(uri, where, error) from None


def has_bucket(error: FileNotFoundError) -> bool:
    """Whether it is but an object that is missing."""
    return code(error) not in _NO_BUCKET


def _refusal(uri: str, where: str, error: Exception) -> StoreError:
    number, word = status(error), code(error)
    if word in _NO_BUCKET or isinstance(error, FileNotFoundError):
        return StoreError(f"{uri}: there is no such bucket", _MAKE_BUCKET)
    if _REFUSED & {number, word}:
        return StoreError(f"{where}: refused ({number} {word})", _CREDENTIALS)
    if _ELSEWHERE & {number, word}:
        return StoreError(f"{uri}: the bucket is in another region", _REGION)
    if number:
        return StoreError(f"{where}: the store said {number} {word}", _AGAIN)
    if isinstance(error, InvalidPathError):
        return StoreError(f"{where}: a name with an empty part in it", _RENAME)
    if _WITHOUT_CREDENTIALS.search(str(error)):
        return StoreError(f"{uri}: no credentials were found", _CREDENTIALS)
    return StoreError(f"{uri}: the store cannot be reached", _NETWORK)


def status(error: Exception) -> str:
    """The HTTP status of an answer, empty if there was none."""
    match = _STATUS.search(str(error))
    return match[1] if match else ""


def code(error: Exception) -> str:
    """The store's own word for what is wrong, empty if it has none."""
    match = _CODE.search(str(error))
    return match[1] if match else ""
