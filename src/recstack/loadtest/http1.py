"""HTTP/1.1 responses, read piece by piece with bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the server leaves the connection open."""
        return self.headers.get("connection", "").lower() != "close"


class ResponseReader:
    """Collects one response after another from a connection without pipelining.

    Bodies need a Content-Length: inference servers send one, and it bounds what is kept.

    >>> reader = ResponseReader(max_body_bytes=100)
    >>> reader.feed(b"HTTP/1.1 200 OK\\r\\nContent-Le") is None
    True
    >>> reader.feed(b"ngth: 2\\r\\n\\r\\nhi").body
    b'hi'
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._pieces = bytearray()
        self._head: tuple[int, Mapping[str, str]] | None = None
        self._body_bytes = 0

    def feed(self, data: bytes) -> Response | None:
        """Add bytes; the response when it is whole.

        Raises
        ------
        ValueError: not HTTP/1.1, larger than allowed, or more bytes than the response has.
        """
        self._pieces += data
        while self._head is None:
            end = self._pieces.find(b"\r\n\r\n")
            if end < 0 and len(self._pieces) <= MAX_HEAD_BYTES:
                return None
            if not 0 <= end <= MAX_HEAD_BYTES:
                raise ValueError(f"expected a head of at most {MAX_HEAD_BYTES} bytes, got more")
            status, headers = _parse_head(bytes(self._pieces[:end]))
            del self._pieces[: end + 4]
            if status >= 200:  # 1xx only announces the response proper
                self._body_bytes = _body_bytes(status, headers, self._max_body_bytes)
                self._head = status, headers
        if len(self._pieces) < self._body_bytes:
            return None
        if len(self._pieces) > self._body_bytes:
            raise ValueError(f"expected {self._body_bytes} bytes of body, got {len(self._pieces)}")
        response = Response(*self._head, bytes(self._pieces))
        self._pieces.clear()
        self._head = None
        return response


@lru_cache(maxsize=256)  # a server's heads are few, but for what changes by the second
def _parse_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (status.isascii() and status.isdigit()):
        raise ValueError(f"expected an HTTP/1.1 status line, got {first[:80]!r}")
    if len(status) != 3 or int(status) < 100:
        raise ValueError(f"expected a status of three digits, got {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"expected a header, got {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(status), headers


def _body_bytes(status: int, headers: Mapping[str, str], limit: int) -> int:
    if status in (204, 304):
        return 0
    text = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
        raise ValueError("expected a response with a Content-Length, got none")
    if int(text) > limit:
        raise ValueError(f"expected at most {limit} bytes of body, got {text}")
    return int(text)
