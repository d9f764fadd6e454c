"""Connection to a bucket, requests that are repeated, and the meaning of errors.

A store that does not answer, or says that it cannot now, is away for a while: a request is
repeated until it is answered or the patience ends. obstore's messages contain addresses and
signatures, so only the status and the store's own code are shown.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from os import environ
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from obstore.exceptions import BaseError, InvalidPathError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, S3Store

from harvester.core.config.references import quote_safe
from harvester.core.errors import StoreAway, StoreError, StoreRefused, UsageError
from harvester.storage.backends.elapsed import boot_seconds

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

BEYOND_THE_END = "416"
"""Status for a range outside of an object."""

_CONNECT_SECONDS = 10.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LEAST_TRIES = 2
_BUSY = {"408", "409", "429", "500", "502", "503", "504"}
"""Statuses of a store that may answer soon; 409 is a conflict with another request."""


class TimeLimits(NamedTuple):
    """Time limits: of a request, of a pause in it, and of all tries, in seconds."""

    request: float = 300.0
    silence: float = 10.0
    patience: float = 30.0


LIMITS = TimeLimits()
LONG_PUTS = TimeLimits(silence=LIMITS.request)
"""Those of a put that may take long: its answer comes once the store has all of it."""

T = TypeVar("T")

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
# No other word of an address, because that has the names of the bucket and the object in it.
_WITHOUT_CREDENTIALS = re.compile(r"\s(credential|token)|//169\.254|//[^/\s]+/latest/api/token")
_UNKNOWN_HOST = re.compile(r"name or service not known|nodename nor servname", re.IGNORECASE)
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}
_REFUSED = {"401", "403", "ExpiredToken", "InvalidToken"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}

_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, GOOGLE_APPLICATION_CREDENTIALS,"
    " or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, to credentials"
    " that may list, read, write and delete there"
)
_OPTIONS = "write those of obstore, each once, such as aws_access_key_id, aws_region or allow_http"
_NETWORK = "check `output.endpoint` and the network, then run again"
_HOST = "correct `output.endpoint` or the region"
_AGAIN = "look the code up in the store's manual, then run again"


def connect(
    uri: str, endpoint: str | None, given: Mapping[str, str], limits: TimeLimits = LIMITS
) -> ObjectStore:
    """Return the prefix of a bucket, without a request.

    ``given`` are options of obstore, as ``aws_access_key_id``; they win over the environment.
    Raises UsageError if the environment has no usable credentials or region, and for an option that
    the kind of store does not have.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, limits.request)),
        "timeout": timedelta(seconds=limits.request),
        "read_timeout": timedelta(seconds=limits.silence),
    }
    # Not what was silent: `answered` repeats that, and both together would take a minute.
    quick = timedelta(seconds=min(limits.silence, limits.patience))
    # For the requests for credentials. Those to the store are repeated here, where it is known
    # which of them may be, and what an answer means after one that got lost.
    retry: RetryConfig = {"max_retries": 2, "retry_timeout": quick}
    # obstore reads this variable only if no options are given.
    if (endpoint or "").startswith("http://") or environ.get("AWS_ALLOW_HTTP") == "true":
        options["allow_http"] = True
    kind, config = _store_type(scheme, endpoint)
    try:
        store: ObjectStore = kind(
            bucket,
            prefix=prefix or None,
            config={**config, **given},
            client_options=options,
            retry_config=retry,
        )
    except UnknownConfigurationKeyError as error:
        unknown = next((key for key in given if repr(key.lower()) in str(error)), "")
        what = f"{scheme}:// has no option{quote_safe(unknown)}"
        raise UsageError(f"storage_options: {what}", _OPTIONS) from None
    except (BaseError, ValueError):
        if given:
            raise UsageError(f"{uri}: unusable storage_options", _OPTIONS) from None
        problem = f"{uri}: no usable credentials or region in the environment"
        raise UsageError(problem, _CREDENTIALS) from None
    return store


def _store_type(scheme: str, endpoint: str | None) -> tuple[Any, dict[str, Any]]:
    if scheme == "gs":
        return GCSStore, {"base_url": endpoint} if endpoint else {}
    config: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    if scheme == "az":
        return AzureStore, config
    # One request for each removal, because many compatible stores have no bulk delete.
    return S3Store, config | {"disable_bulk_delete": True}


def answered(uri: str, where: str, request: Callable[[], T], patience: float) -> T:
    """Return the result of a request, repeated as long as the store is away.

    ``where`` names the object in messages. Raises StoreAway if it is away for ``patience`` seconds
    and two tries, and StoreRefused.
    """
    until, tries, pause = boot_seconds() + patience, 0, _FIRST_PAUSE
    while True:
        tries += 1
        try:
            return request()
        except StoreAway as error:
            failure: StoreError = error
        except (BaseError, OSError, ValueError) as error:
            failure = _as_store_error(uri, where, error)
        is_over = tries >= _LEAST_TRIES and boot_seconds() + pause > until
        if is_over or not isinstance(failure, StoreAway):
            raise failure from None
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE)


def if_there(request: Callable[[], T]) -> T | None:
    """Return the result of a request, None for a missing object; a missing bucket is an error."""
    try:
        return request()
    except FileNotFoundError as error:
        if code(error) in _NO_BUCKET:
            raise
        return None


def is_conflict(error: Exception) -> bool:
    """Return whether the store could not decide, because of another request at that moment.

    Azure has the same status for an object that exists.
    """
    return status(error) == "409" and "Exists" not in code(error)


def _as_store_error(uri: str, where: str, error: Exception) -> StoreError:
    number, word = status(error), code(error)
    # Where an object may be missing the caller has ignored that, so here it is the bucket.
    if word in _NO_BUCKET or isinstance(error, FileNotFoundError):
        return StoreRefused(f"{uri}: there is no such bucket", "make it, or correct `output.path`")
    # By the code too, because S3 answers an expired token with 400.
    if _REFUSED & {number, word}:
        return StoreRefused(f"{where}: refused ({f'{number} {word}'.strip()})", _CREDENTIALS)
    if _ELSEWHERE & {number, word}:
        return StoreRefused(f"{uri}: the bucket is in another region", "set AWS_REGION to that one")
    if number:
        kind = StoreAway if number in _BUSY else StoreRefused
        return kind(f"{where}: the store said {f'{number} {word}'.strip()}", _AGAIN)
    if isinstance(error, InvalidPathError):
        return StoreRefused(f"{where}: a name with an empty part in it", "remove that object")
    # Credentials are looked for at the first request, and only a text says that there are none.
    if _WITHOUT_CREDENTIALS.search(str(error)):
        return StoreRefused(f"{uri}: no credentials were found", _CREDENTIALS)
    if _UNKNOWN_HOST.search(str(error)):
        return StoreRefused(f"{uri}: the store's host is unknown", _HOST)
    return StoreAway(f"{uri}: the store cannot be reached", _NETWORK)


def status(error: Exception) -> str:
    """Return the HTTP status of an answer, empty if there was none."""
    return "".join(_STATUS.findall(str(error))[:1])


def code(error: Exception) -> str:
    """Return the store's own error code, empty if there is none."""
    return "".join(_CODE.findall(str(error))[:1])
