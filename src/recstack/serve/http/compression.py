"""Compressed request bodies, with a limit on what they may grow to."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from recstack.serve.http.status import HttpError

GZIP_WINDOW = 31
DEFLATE_WINDOW = 15
RAW_WINDOW = -15


def coding_of(headers: Mapping[bytes, bytes]) -> str:
    """The content coding that a request names, `identity` where it names none."""
    return headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()


def decompress(body: bytes | bytearray, coding: str, limit: int) -> bytes | bytearray:
    """The body without its content coding: `gzip` (or `x-gzip`), `deflate` or `identity`.

    Raises HttpError: 415 for another coding, 413 beyond `limit` bytes, 400 for damaged data.
    """
    if coding == "identity":
        return body
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, GZIP_WINDOW, limit)
    if coding == "deflate":
        # RFC 9110 means zlib's wrapper; some clients send the bare stream
        wrapped = len(body) > 1 and body[0] & 15 == 8 and (body[0] * 256 + body[1]) % 31 == 0
        return _inflate(body, DEFLATE_WINDOW if wrapped else RAW_WINDOW, limit)
    raise HttpError(
        415,
        f"expected gzip or deflate, got {coding[:80]!r}",
        "content-encoding",
        b"Accept-Encoding: gzip, deflate\r\n",
    )


def _inflate(body: bytes | bytearray, window: int, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=window)
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error:
        raise HttpError(400, "expected compressed data, got damaged ones", "body") from None
    if len(data) > limit:
        raise HttpError(413, f"expected at most {limit} bytes decompressed, got more", "body")
    if not stream.eof:
        raise HttpError(400, "expected whole compressed data, got a part", "body")
    if stream.unused_data:
        raise HttpError(400, "expected compressed data alone, got bytes behind them", "body")
    return data
