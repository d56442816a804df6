"""The head of one request: target and headers, counted and checked."""

from __future__ import annotations

from recstack.serve.http.status import HttpError

MAX_HEADERS = 128
SINGLE = (b"host", b"content-encoding", b"inference-header-content-length", b"content-type")


def quoted(sent: bytes) -> str:
    """What a client sent, for a message: short, and in quotes."""
    return repr(sent[:80].decode("latin-1"))


class Head:
    """Grows as the parser reads; raises HttpError for what no request may hold."""

    __slots__ = ("_bytes", "_raw_bytes", "expects_continue", "has_body", "headers", "old", "target")

    def __init__(self) -> None:
        self._bytes = 0
        self._raw_bytes = 0
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.old = False
        self.has_body = False
        self.expects_continue = False

    def count_raw(self, size: int, limit: int) -> None:
        """Count bytes that came and are not body; HttpError 431 past `limit`.

        Beside the count of whole headers, this bounds one that never ends, in head or trailer.
        """
        self._raw_bytes += size
        if self._raw_bytes > limit:
            raise _too_long(limit)

    def add_target(self, part: bytes, limit: int) -> None:
        """A piece of the target; HttpError 414 past `limit`."""
        self.target += part
        if len(self.target) > limit:
            raise HttpError(414, f"expected at most {limit} bytes, got more", "target")

    def add(self, name: bytes, value: bytes, limit: int) -> None:
        """One header; HttpError 431 for too many, 400 for a second one that must be single."""
        self._bytes += len(name) + len(value) + 4
        if self._bytes > limit:
            raise _too_long(limit)
        name = name.lower()
        if name in self.headers:
            if name in SINGLE:
                raise HttpError(400, "expected this header once, got it again", name.decode())
            value = self.headers[name] + b", " + value
        elif len(self.headers) >= MAX_HEADERS:
            raise HttpError(431, f"expected at most {MAX_HEADERS} headers, got more", "headers")
        self.headers[name] = value

    def check(self, version: str, max_body_bytes: int) -> None:
        """Raise HttpError where version, host, coding, length or expectation will not do."""
        headers = self.headers
        if version not in ("1.1", "1.0"):
            raise HttpError(505, f"expected HTTP/1.0 or HTTP/1.1, got HTTP/{version}")
        self.old = version == "1.0"
        if not self.old and b"host" not in headers:
            raise HttpError(400, "expected this header, got none", "host")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise HttpError(501, f"expected chunked, got {quoted(coding)}", "transfer-encoding")
        digits = headers.get(b"content-length", b"0").strip()
        if not digits.isdigit() or len(digits) > 19:
            raise HttpError(400, f"expected a number, got {quoted(digits)}", "content-length")
        length = int(digits)
        if length > max_body_bytes:
            raise HttpError(
                413, f"expected at most {max_body_bytes} bytes, got {length}", "content-length"
            )
        self.has_body = length > 0 or coding is not None
        expect = headers.get(b"expect")
        if expect is not None and not self.old:
            if expect.lower() != b"100-continue":
                raise HttpError(417, f"expected 100-continue, got {quoted(expect)}", "expect")
            self.expects_continue = self.has_body


def _too_long(limit: int) -> HttpError:
    return HttpError(431, f"expected at most {limit} bytes, got more", "headers")
