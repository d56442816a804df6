from __future__ import annotations

import pytest

from recstack.loadtest.http1 import Response, ResponseReader

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y:  z \r\n\r\nhello"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_responses_come_in_pieces_one_after_another(step: int) -> None:
    reader = ResponseReader(100)
    for _ in range(3):
        pieces = [WHOLE[i : i + step] for i in range(0, len(WHOLE), step)]
        assert [reader.feed(p) for p in pieces[:-1]] == [None] * (len(pieces) - 1)
        last = reader.feed(pieces[-1])
        assert last == Response(200, {"content-length": "5", "x-y": "z"}, b"hello")


def test_an_interim_response_is_skipped() -> None:
    got = ResponseReader(100).feed(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)
    assert got is not None and got.body == b"hello"


@pytest.mark.parametrize(
    ("head", "alive"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", True),
        (b"HTTP/1.1 503\r\n", True),
    ],
)
def test_keep_alive(head: bytes, alive: bool) -> None:
    got = ResponseReader(100).feed(head + b"content-length: 0\r\n\r\n")
    assert got is not None and got.keeps_alive is alive


def test_an_answer_without_a_body() -> None:
    got = ResponseReader(100).feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert got is not None and got.body == b""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SMTP hello\r\n\r\n", "status line"),
        (b"HTTP/1.1 2\xb20 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 20\r\n\r\n", "status"),
        (b"HTTP/1.1 099 No\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "expected a header"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "at most 100 bytes"),
        (WHOLE + b"!", "expected 5 bytes of body, got 6"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "head of at most"),
    ],
)
def test_what_is_malformed_or_too_large_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResponseReader(100).feed(data)
