"""The head of one request: target and headers, counted and checked."""

from __future__ import annotations

from recstack.serve.http.status import HttpError

MAX_HEADERS = 128
SINGLE = (b"host", b"content-encoding", b"inference-header-content-length", b"content-type")


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
            raise HttpError(431, f"the headers are larger than {limit} bytes")

    def add_target(self, part: bytes, limit: int) -> None:
        """A piece of the target; HttpError 414 past `limit`."""
        self.target += part
        if len(self.target) > limit:
            raise HttpError(414, f"the target is longer than {limit} bytes")

    def add(self, name: bytes, value: bytes, limit: int) -> None:
        """One header; HttpError 431 for too many, 400 for a second one that must be single."""
        self._bytes += len(name) + len(value) + 4
        if self._bytes > limit:
            raise HttpError(431, f"the headers are larger than {limit} bytes")
        name = name.lower()
        if name in self.headers:
            if name in SINGLE:
                raise HttpError(400, f"the header {name.decode()} came twice")
            value = self.headers[name] + b", " + value
        elif len(self.headers) >= MAX_HEADERS:
            raise HttpError(431, f"there are more than {MAX_HEADERS} headers")
        self.headers[name] = value

    def check(self, version: str, max_body_bytes: int) -> None:
        """Raise HttpError where version, host, coding, length or expectation will not do."""
        headers = self.headers
        if version not in ("1.1", "1.0"):
            raise HttpError(505, "HTTP/1.0 and HTTP/1.1 are supported")
        self.old = version == "1.0"
        if not self.old and b"host" not in headers:
            raise HttpError(400, "the header host is missing")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise HttpError(501, "the only transfer coding supported is chunked")
        digits = headers.get(b"content-length", b"0").strip()
        if not digits.isdigit() or len(digits) > 19:
            raise HttpError(400, "the header content-length is not a number")
        length = int(digits)
        if length > max_body_bytes:
            raise HttpError(413, f"the body is larger than {max_body_bytes} bytes")
        self.has_body = length > 0 or coding is not None
        expect = headers.get(b"expect")
        if expect is not None and not self.old:
            if expect.lower() != b"100-continue":
                raise HttpError(417, "the only expectation supported is 100-continue")
            self.expects_continue = self.has_body
