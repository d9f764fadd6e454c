"""A server that sends raw bytes, so that it can break HTTP in any way."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROWS = b'{"list":[]}'


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: its first line, its headers in lower case, its body."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class FaultServer:
    """The address of the server, and the requests it got."""

    port: int
    scheme: str = "http"
    connections: int = 0
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""A function that writes one answer, valid or not, and may close the connection."""


def http(
    body: bytes = ROWS,
    *,
    status: str = "200 OK",
    headers: str = "",
    length: int | None = None,
    now: float | None = None,
) -> bytes:
    """Return an answer with its Content-Length, or with ``length`` as a wrong one.

    Its Date is ``now``, or that of this machine's clock.
    """
    size = len(body) if length is None else length
    date = formatdate(now, usegmt=True)
    head = f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nDate: {date}\r\n{headers}\r\n"
    return head.encode() + body


def say(*parts: bytes, close: bool = False) -> Answer:
    """Write the parts, then keep the connection open or close it."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if close:
            writer.close()

    return answer


def reset_after(part: bytes) -> Answer:
    """Write a part, then reset the connection."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(part)
        await writer.drain()
        # Once the client has had the part, which a reset would overtake.
        await asyncio.sleep(0.02)
        writer.transport.abort()

    return answer


def drip(head: bytes, *, pause: float = 0.02) -> Answer:
    """Write a head, then one byte at a time for ever."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(pause)

    return answer


def repeat(head: bytes, part: bytes) -> Answer:
    """Write a head, then the same part for ever, as fast as it is read."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()

    return answer


async def silence(_: asyncio.StreamWriter) -> None:
    """Say nothing and keep the connection open."""
    await asyncio.Event().wait()


@asynccontextmanager
async def fault_server(
    *answers: Answer, tls: ssl.SSLContext | None = None, greeting: bytes = b""
) -> AsyncIterator[FaultServer]:
    """Serve on a free port; the answers are given in turn, the last one again and again.

    A ``greeting`` is written at the start of each connection.
    """
    handlers: set[asyncio.Task[object]] = set()
    todo = list(answers)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        seen.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.write(greeting)
            while not writer.is_closing():
                seen.requests.append(await read_request(reader))
                answer = todo.pop(0) if len(todo) > 1 else todo[0]
                await answer(writer)
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls, limit=2**20)
    seen = FaultServer(server.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield seen
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request with its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.strip().split("\r\n")
    pairs = (text.partition(":") for text in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(line, headers, body)


def certificate(
    folder: Path, *, address: str = "127.0.0.1", expired: bool = False
) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context with a new self-signed certificate, and the certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "harvester tests")])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - 3 * day)
        .not_valid_after(now - day if expired else now + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
