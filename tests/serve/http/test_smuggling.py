"""Requests whose end can be read in two ways: never is what follows taken as a further request."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

POST = b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /v2/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def replies(shop: Any, message: bytes) -> list[tuple[int, bytes]]:
    """Status and body of all that the server sends for `message`, until it closes."""
    with shop.client() as client:
        client.send(message)
        raw = bytearray()
        while part := client.sock.recv(1 << 16):
            raw += part
    found = []
    while raw:
        head, _, rest = bytes(raw).partition(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        found.append((int(head.split()[1]), rest[:size]))
        raw = bytearray(rest[size:])
    return found


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\n" + CHUNKED,
        CHUNKED + b"Content-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 0\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4_0\r\n",
        b"Content-Length: \xd9\xa4\r\n",  # an Arabic four
        b"Content-Length: 4\r\n Transfer-Encoding: chunked\r\n",  # a folded line
        b"Content-Length : 4\r\n",
        b"Content-Length: 18446744073709551620\r\n",  # 4 past 2^64
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\n" + CHUNKED,
        CHUNKED + CHUNKED,
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding: chunked\x00\r\n",
        b"X: y\nContent-Length: 4\r\n",
        b"X: y\rContent-Length: 4\r\n",
        b"X\x00: y\r\n",
        b": y\r\n",
    ],
)
def test_doubtful_framing_ends_the_connection(shop: Any, framing: bytes) -> None:
    found = replies(shop, POST + framing + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert [status // 100 for status, _ in found] == [found[0][0] // 100]
    assert found[0][0] in (400, 501), found
    assert b"smuggled" not in found[0][1] and "expected" in json.loads(found[0][1])["error"]


@pytest.mark.parametrize(
    "chunks",
    [
        b"10000000000000000\r\n",
        b"-1\r\nx\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1 \r\nx\r\n",
        b"1\r\nxy\r\n",
        b"1\nx\n0\n\n",
        b"1;\x00\r\nx\r\n",
        b"\r\n1\r\nx\r\n",
        b";\r\n",
    ],
)
def test_malformed_chunks_end_the_connection(shop: Any, chunks: bytes) -> None:
    found = replies(shop, POST + CHUNKED + b"\r\n" + chunks + b"0\r\n\r\n" + SMUGGLED)
    assert len(found) == 1 and found[0][0] in (400, 413), found
    assert b"smuggled" not in found[0][1]


def test_a_body_of_an_old_request_is_not_a_request(shop: Any) -> None:
    old = b"POST /v2/models/shop/infer HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    assert [status for status, _ in replies(shop, old + SMUGGLED)] == [400]


def test_a_get_with_a_body_is_one_request(shop: Any) -> None:
    get = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    last = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert [status for status, _ in replies(shop, get + SMUGGLED + last)] == [200, 200]


@pytest.mark.parametrize("code", [b"100-continue", b"100-Continue, x", b"\xff"])
def test_a_body_that_was_not_waited_for_is_read_as_one(shop: Any, tools: Any, code: bytes) -> None:
    body, size = tools.encode(tools.packed(tools.batch(2)))
    head = b"Expect: %b\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
    message = POST + b"Connection: close\r\n" + head % (code, size, len(body)) + body
    with shop.client() as client:
        client.send(message + SMUGGLED)
        first = client.reply()
        if code == b"100-continue":
            assert first.status == 100
            first = client.reply()
        assert first.status == (200 if code == b"100-continue" else 417)
        assert client.at_end()


@pytest.mark.parametrize(
    "target",
    [
        b"*", b"//v2/health/live", b"/v2/../v2/health/live", b"/v2/%2e%2e/health/live",
        b"/v2/models/%ff/infer", b"/v2/models/%00", b"/v2/models/" + b"%41" * 2000,
        b"/v2/models/shop%2finfer", b"/v2/models/../shop", b"http:///", b"http://x", b"/\xff\xfe",
        b"/v2/models/sh\xc3\xb6p", b"/v2/models/shop/versions/%F0%9F%A6%84", b"x:80",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"TRACE", b"CONNECT", b"PUT"])
def test_odd_targets_are_answered_with_an_error(shop: Any, method: bytes, target: bytes) -> None:
    message = method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with shop.client() as client:
        client.send(message)
        reply = client.reply()
        assert reply.status in (400, 404, 405), reply
        assert reply.json()["error"]


@pytest.mark.parametrize(
    ("shape", "most_s"), [([2**31 - 1] * 40_000, 0.3), ([1] * 40_000, 0.3), ([0] * 9, 0.3)]
)
def test_shapes_of_many_axes_are_refused_at_once(
    shop: Any, shape: list[int], most_s: float
) -> None:
    tensor = {"name": "dense", "datatype": "FP32", "shape": shape, "data": []}
    with shop.client() as client:
        began = time.monotonic()
        reply = client.infer(json.dumps({"inputs": [tensor]}).encode())
        assert reply.status == 400 and time.monotonic() - began < most_s


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500_000,
        b'{"inputs":' * 50_000,
        b'{"inputs": [' + b'{"name": "\xf0\x9f\xa6\x84", "datatype": "FP32", "shape": []}]}',
        b'{"inputs": [{"name": "' + b"\\u0000" * 50 + b'", "datatype": "FP32", "shape": [1]}]}',
        b'{"inputs": [{"name": "\\ud800", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"id": "\\udfff", "inputs": [{"name": "\\ud800", "datatype": "\\ud800"}]}',
        b'{"inputs": [{"name": "dense", "name": "dense", "shape": [1], "shape": 2}]}',
        b'{"inputs": [], "inputs": [{}]}',
        b'\xef\xbb\xbf{"inputs": []}',
        b'{"inputs": []}\x00',
        b"1" * 100_000,
        b'{"inputs": [{"name": "dense", "datatype": "FP32", "shape": [1], "data": [1e400]}]}',
        b'{"inputs": [{"name": "dense", "datatype": "FP32", "shape": [-0], "data": []}]}',
    ],
)
def test_json_made_to_harm_is_refused(shop: Any, text: bytes) -> None:
    with shop.client() as client:
        reply = client.infer(text)
        assert reply.status == 400 and reply.json()["error"]
        assert client.ask("/v2/health/live").status == 200


@pytest.mark.parametrize("size", [-1, 1, 11, 13, 1 << 31, 1 << 63, 1 << 64, 12.0, "12", True, [12]])
def test_binary_sizes_that_lie_are_refused(shop: Any, size: Any) -> None:
    tensor = {"name": "dense", "datatype": "FP32", "shape": [1, 3]}
    tensor["parameters"] = {"binary_data_size": size}
    text = json.dumps({"inputs": [tensor]}).encode()
    with shop.client() as client:
        reply = client.infer(text + bytes(12), len(text))
        assert reply.status == 400 and reply.json()["error"]


@pytest.mark.parametrize("size", ["-1", "+5", "5_0", "0x5", "1e1", "٥", "9" * 25, "", "5, 5"])
def test_lengths_of_the_json_part_that_are_no_numbers_are_refused(shop: Any, size: str) -> None:
    head = b"Inference-Header-Content-Length: " + size.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
    with shop.client() as client:
        client.send(POST + head)
        reply = client.reply()
        assert reply.status == 400 and reply.json()["error"]
