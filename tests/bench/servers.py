"""A registry on loopback that costs little: bodies go from the page cache to the socket without passing through Python.

`python -m tests.bench.servers` reads what it serves from its standard input, prints its ports, and ends with its input.
"""

import json
import mmap
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.data import Blob
from tests.fixtures.certificates import Authority

RATE = 50_000_000
"""Bytes per second of a slow connection, which is what storage behind registries often gives to one."""

_STEP = RATE // 200  # 5 ms of it
_DEPTH = 0.02  # seconds' worth that a bucket holds: what a late wake-up leaves unused may follow
_SLOW_SEND_BUFFER = 64 << 10  # what is in the kernel's buffer has been sent as far as the bucket knows
_TLS_PIECE = 1 << 20
_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/?]+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")

Pump = Callable[[socket.socket, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Content:
    """What a registry holds: blobs by digest; manifests by repository, under their digest and the tag `v1` alike."""

    blobs: dict[str, Blob]
    manifests: dict[str, str]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the same content is served: in plain HTTP, in TLS, and slowly. `redirecting` sends blobs on to TLS."""

    plain: str
    tls: str
    slow: str
    redirecting: str
    ca_file: str


@contextmanager
def serving(content: Content, home: Path) -> Iterator[Addresses]:
    """A process that serves `content`; `home` is where its certificates go."""
    Authority(home).server()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.servers", home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write(json.dumps(asdict(content)) + "\n")
            process.stdin.flush()
            yield Addresses(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


def main() -> None:
    home, given = Path(sys.argv[1]), json.loads(sys.stdin.readline())
    content = Content({digest: Blob(**blob) for digest, blob in given["blobs"].items()}, given["manifests"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "server2.pem", home / "server2.key")
    tls = _listen(content, _pump_tls, wrap=lambda wire: context.wrap_socket(wire, server_side=True))
    addresses = Addresses(
        plain=f"127.0.0.1:{_listen(content, _pump)}",
        tls=f"localhost:{tls}",
        slow=f"127.0.0.1:{_listen(content, _pump_slowly, send_buffer=_SLOW_SEND_BUFFER)}",
        redirecting=f"127.0.0.1:{_listen(content, _pump, blobs_at=f'https://localhost:{tls}')}",
        ca_file=str(home / "ca.pem"),
    )
    print(json.dumps(asdict(addresses)), flush=True)
    sys.stdin.read()
    os._exit(0)


def _listen(
    content: Content,
    pump: Pump,
    *,
    wrap: Callable[[socket.socket], socket.socket] = lambda wire: wire,
    send_buffer: int | None = None,
    blobs_at: str = "",
) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

    def serve(wire: socket.socket) -> None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), wrap(wire) as wrapped:  # clients hang up when they have enough
            _Connection(wrapped, content, pump, blobs_at).run()

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


class _Connection:
    """Requests one after another over one connection."""

    def __init__(self, wire: socket.socket, content: Content, pump: Pump, blobs_at: str) -> None:
        self._wire = wire
        self._content = content
        self._pump = pump
        self._blobs_at = blobs_at
        self._received = b""

    def run(self) -> None:
        while head := self._head():
            line, *fields = head.split("\r\n")
            method, path, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            self._answer(method, path, headers)

    def _head(self) -> str:
        while b"\r\n\r\n" not in self._received:
            piece = self._wire.recv(65536)
            if not piece:
                return ""
            self._received += piece
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _answer(self, method: str, path: str, headers: dict[str, str]) -> None:
        route = _ROUTE.fullmatch(path)
        if route is None:
            self._send(200 if path == "/v2/" else 404, {"Content-Length": "0"})
        elif route["kind"] == "manifests" and route["repository"] in self._content.manifests:
            self._manifest(method, self._content.manifests[route["repository"]].encode())
        elif route["kind"] == "blobs" and route["what"] in self._content.blobs:
            if self._blobs_at:
                self._send(307, {"Location": f"{self._blobs_at}{path}", "Content-Length": "0"})
            else:
                self._blob(method, self._content.blobs[route["what"]], headers.get("range", ""))
        else:
            self._send(404, {"Content-Length": "0"})

    def _manifest(self, method: str, body: bytes) -> None:
        media_type = json.loads(body)["mediaType"]
        headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
        self._send(200, headers, b"" if method == "HEAD" else body)

    def _blob(self, method: str, blob: Blob, asked: str) -> None:
        start, stop, headers = 0, blob.size, {"Accept-Ranges": "bytes"}
        if match := _RANGE.fullmatch(asked):
            start = int(match[1])
            stop = min(int(match[2]) + 1, blob.size) if match[2] else blob.size
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
        self._send(206 if match else 200, headers | {"Content-Length": str(stop - start)})
        if method != "HEAD":
            with open(blob.file, "rb") as file:
                self._pump(self._wire, file.fileno(), blob.offset + start, blob.offset + stop)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} .", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._wire.sendall("\r\n".join(lines).encode("latin-1") + body)


def _pump(wire: socket.socket, file: int, start: int, stop: int) -> None:
    while start < stop:
        start += os.sendfile(wire.fileno(), file, start, stop - start)


def _pump_tls(wire: socket.socket, file: int, start: int, stop: int) -> None:
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as content, memoryview(content) as view:
        for at in range(start, stop, _TLS_PIECE):
            with view[at : min(at + _TLS_PIECE, stop)] as piece:
                wire.sendall(piece)


_buckets = threading.local()  # a connection has a thread of its own, and keeps its bucket from one request to the next


def _pump_slowly(wire: socket.socket, file: int, start: int, stop: int) -> None:
    """A token bucket for each connection, which fills at `RATE`."""
    due: float = getattr(_buckets, "due", time.monotonic())
    while start < stop:
        due = max(due, time.monotonic() - _DEPTH)
        time.sleep(max(0.0, due - time.monotonic()))
        sent = os.sendfile(wire.fileno(), file, start, min(_STEP, stop - start))
        start += sent
        due += sent / RATE
    _buckets.due = due


if __name__ == "__main__":
    main()
