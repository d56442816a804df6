"""A reply as bytes."""

from __future__ import annotations

from recstack.serve.http.status import STATUS_LINES

JSON = b"application/json"
OCTETS = b"application/octet-stream"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def render(
    status: int,
    body: bytes,
    content_type: bytes,
    headers: bytes,
    *,
    date: bytes,
    tail: bytes = b"",
    connection: bytes = b"",
    head_only: bool = False,
) -> bytes:
    """A whole reply; `tail` is a second part of the body, `connection` the header of that name."""
    head = b"%bDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n" % (
        STATUS_LINES[status],
        date,
        content_type,
        len(body) + len(tail),
        headers,
        connection,
    )
    return head if head_only else head + body + tail
