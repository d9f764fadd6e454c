"""A server of Postgres on loopback, whose files go with the block."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=50")


def program(name: str) -> str | None:
    """Return the path of a program of the server, None if it is not installed."""
    found = [*map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), shutil.which(name)]
    return found[0]


@contextmanager
def postgres_server() -> Iterator[int]:
    """Serve for the block, every user without a password; yield the port."""
    # Another user than that of the tests cannot get into the folders of the tests.
    folder = Path(tempfile.mkdtemp(prefix="postgres", dir="/tmp"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    # It refuses to run as root.
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")
    settings = [f"-c{each}" for each in (*_SETTINGS, f"port={port}", "unix_socket_directories=")]

    def call(*words: str) -> None:
        done = subprocess.run(
            words,
            cwd=folder,
            user=user,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, f"{words}\n{done.stdout}\n{done.stderr}"

    try:
        call(str(program("initdb")), "-D", data, "-U", "harvester", "-A", "trust", "--no-sync")
        control = str(program("pg_ctl"))
        log = str(folder / "log")
        call(control, "-D", data, "-l", log, "-w", "-o", " ".join(settings), "start")
        try:
            yield port
        finally:
            call(control, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def new_database(port: int) -> str:
    """Make an empty database in the server at a port; return its name."""
    name = f"lake_{secrets.token_hex(4)}"
    where = ("-h", "127.0.0.1", "-p", str(port), "-U", "harvester")
    subprocess.run([str(program("createdb")), *where, name], check=True)
    return name
