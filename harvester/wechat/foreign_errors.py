"""Translation of errors of aiohttp and of the system into harvester's, without their texts.

aiohttp puts the whole URL into the text of some of its errors. A translated error has the server's
address, words of the tables below, and the system's words for an error number.
"""

from __future__ import annotations

import errno
import os
import ssl
from types import UnionType

import aiohttp
from aiohttp.http import HttpProcessingError

from harvester.core import errors

# The first row that fits a foreign error decides what becomes of it.
_FAILURES: tuple[tuple[type[BaseException] | UnionType, type[errors.CallError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, errors.Unreachable, "no connection in time"),
    (TimeoutError, errors.CallTimedOut, "no answer in time"),
    (
        aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError,
        errors.BadTls,
        "the server's certificate was not accepted (api.ca_file may name its authority)",
    ),
    # Not as the certificate, because the next handshake may succeed.
    (aiohttp.ClientSSLError | ssl.SSLError, errors.Unreachable, "the TLS handshake failed"),
    (aiohttp.ClientConnectorDNSError, errors.NotConnected, "name not found"),
    (
        aiohttp.ClientProxyConnectionError,
        errors.NotConnected,
        "the proxy (api.proxy) was not reached",
    ),
    (aiohttp.ClientConnectorError, errors.Unreachable, "the server was not reached"),
    (aiohttp.ClientResponseError | HttpProcessingError, errors.BadAnswer, "the answer is not HTTP"),
    (aiohttp.InvalidURL, errors.BadAnswer, "the address is not that of an HTTP server"),
    (aiohttp.ClientPayloadError, errors.ConnectionFailed, "the answer was cut off"),
    (aiohttp.ServerDisconnectedError, errors.ConnectionFailed, "the server closed the connection"),
    (ValueError, errors.BadAnswer, "the answer violates HTTP"),
    (BaseException, errors.ConnectionFailed, "the connection broke"),
)

_OF_THIS_MACHINE = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENETDOWN}
"""Error numbers of connections that the server has not seen, or that it refuses."""

_OUTDATED = {9: "its certificate is not valid yet", 10: "its certificate has expired"}
_CERTIFICATES = {
    18: "self-signed",
    19: "its authority is not trusted",
    20: "its authority is not known",
    62: "made out to another host",
    64: "made out to another address",
}
"""Words for the codes with which OpenSSL refuses a certificate."""

_LOGIN_REQUIRED = 511
"""The HTTP status of a network that wants a sign-in; the other 5xx are those of servers."""


def translate(error: BaseException, server: str, *, named: bool = True) -> errors.CallError:
    """Return the error of this package for a foreign one.

    A failed connection is reported with its address if ``named``, otherwise with ``server``.
    """
    kind, words = next(row[1:] for row in _FAILURES if isinstance(error, row[0]))
    number = getattr(error, "errno", None)
    address = _address(error, server) if named else server
    if kind in (errors.Unreachable, errors.NotConnected) and number in _OF_THIS_MACHINE:
        return errors.NotConnected(f"{address}: {_refused(error, number)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return kind(f"{address}: {words}: {error.strerror}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return refused_by_proxy(server, getattr(error, "status", 0))
    if kind is errors.BadTls:
        # aiohttp wraps the error of the handshake, which alone has OpenSSL's code.
        inner = getattr(error, "_certificate_error", error)
        code = getattr(inner, "verify_code", 0)
        if code in _OUTDATED:
            return errors.OutdatedTls(f"{server}: {_OUTDATED[code]}")
        detail = _CERTIFICATES.get(code)
        return kind(f"{server}: {words}: {detail}" if detail else f"{server}: {words}")
    if isinstance(number, int) and number > 0 and not isinstance(error, ssl.SSLError):
        words = f"{words}: {os.strerror(number)}"
    return kind(f"{server}: {words}")


def refused_by_proxy(server: str, status: int) -> errors.CallError:
    """Return the error for a call that a proxy refused.

    A 5xx status is an error of the server behind the proxy, except for _LOGIN_REQUIRED.
    """
    is_local = status < 500 or status == _LOGIN_REQUIRED
    kind = errors.NotConnected if is_local else errors.BadAnswer
    return kind(f"{server}: the proxy (api.proxy) does not let the call through: HTTP {status}")


def is_foreign_page(status: int, body: bytes) -> bool:
    """Return whether an answer is the page of a proxy or of a network sign-in, not of a server.

    WeChat's own 404 is a refusal, and a page with any other 5xx comes from a broken server.
    """
    if status == _LOGIN_REQUIRED:
        return True
    return status < 500 and status not in (404, 412) and body[:64].lstrip()[:1] == b"<"


def _address(error: BaseException, server: str) -> str:
    """Return ``host:port`` of a failed connection, which may be one to the proxy."""
    key = getattr(error, "_conn_key", None)
    if key is None:
        return server
    host = f"[{key.host}]" if ":" in key.host else key.host
    return f"{host}:{key.port}"


def _refused(error: BaseException, number: int) -> str:
    words = "connection refused" if number == errno.ECONNREFUSED else os.strerror(number).lower()
    is_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
    return f"{words} (the proxy, api.proxy)" if is_proxy else words
