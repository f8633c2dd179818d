"""moto's S3 server on two ports of loopback: one that answers, and one that fails as networks do.

Run as a program, it writes ``READY/ports`` when it listens, and counts in ``READY/faults`` what it
did wrong: of every five requests to the second port, one is slow, is refused with 503, finds no
room, or is cut off: a body in its middle, or an answer after its request was carried out. While
``READY/full`` exists, nothing can be written through that port.
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

EVERY = 5
KINDS = ("slow", "unavailable", "full", "cut")
SLOW_S = 0.5

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Failing:
    """The same application, of whose requests one in five fails."""

    def __init__(self, app: App, ready: Path) -> None:
        self._app, self._ready = app, ready
        self._numbers, self._lock = itertools.count(1), threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        writes = environ["REQUEST_METHOD"] == "PUT"
        if writes and (self._ready / "full").exists():
            return self._refuse(environ, start, "507 Insufficient Storage", "XMinioStorageFull")
        with self._lock:
            number = next(self._numbers)
        if number % EVERY:
            return self._app(environ, start)
        kind = KINDS[number // EVERY % len(KINDS)]
        with self._lock, (self._ready / "faults").open("a") as told:
            told.write(f"{kind} {environ['REQUEST_METHOD']}\n")
        if kind == "slow":
            time.sleep(SLOW_S)
            return self._app(environ, start)
        if kind == "full" and writes:
            return self._refuse(environ, start, "507 Insufficient Storage", "XMinioStorageFull")
        if kind == "cut":
            return self._cut(environ, start, writes)
        return self._refuse(environ, start, "503 Slow Down", "SlowDown")

    def _refuse(
        self, environ: dict[str, Any], start: Any, status: str, code: str
    ) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def _cut(self, environ: dict[str, Any], start: Any, writes: bool) -> Iterable[bytes]:
        """Answer with half a body, or, when the request was carried out, with nothing."""
        body = b"".join(self._app(environ, (lambda *_: None) if writes else start))
        connection = environ["werkzeug.socket"]
        if not writes:
            yield body[: len(body) // 2]
        connection.shutdown(socket.SHUT_RDWR)
        yield b"" if not writes else b"x"


def main(ready: Path) -> None:
    app: App = DomainDispatcherApplication(create_backend_app)
    servers = [
        make_server("127.0.0.1", 0, served, threaded=True) for served in (app, Failing(app, ready))
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = ready / "ports"
    ports.with_suffix(".new").write_text(" ".join(str(server.server_port) for server in servers))
    ports.with_suffix(".new").rename(ports)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
