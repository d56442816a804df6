"""What may come down a socket, and what must come back. Every wait is bounded by the client."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def infer(tools: Any, rows: int = 3) -> bytes:
    body, json_bytes = tools.encode(tools.packed(tools.batch(rows)))
    head = (
        "POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\n"
        f"Inference-Header-Content-Length: {json_bytes}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_keep_alive_and_pipelining_keep_the_order(shop: Any, tools: Any) -> None:
    with shop.client() as client:
        client.send((infer(tools, 3) + LIVE + infer(tools, 5)) * 40)
        for _ in range(40):
            assert client.reply().json()["outputs"][0]["shape"] == [3, 2]
            assert client.reply().json() == {"live": True}
            assert client.reply().json()["outputs"][0]["shape"] == [5, 2]


def test_a_request_in_single_bytes(shop: Any, tools: Any) -> None:
    with shop.client() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = infer(tools, 1)
        for i in range(len(message)):
            client.send(message[i : i + 1])
        assert client.reply().status == 200


def test_chunked_body_with_a_trailer(shop: Any, tools: Any) -> None:
    body, json_bytes = tools.encode(tools.packed(tools.batch(3)))
    chunks = b"".join(b"%x;why=not\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    head = (
        "POST /v2/models/shop/infer HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n"
        f"inference-HEADER-content-length: {json_bytes}\r\n\r\n"
    )
    with shop.client() as client:
        client.send(head.encode() + chunks + b"0\r\nChecksum: 3\r\n\r\n" + LIVE)
        assert client.reply().status == 200
        assert client.reply().json() == {"live": True}


def test_http_1_0(shop: Any) -> None:
    with shop.client() as client:
        client.send(b"GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = client.reply()
        assert reply.status == 200 and reply.headers["connection"] == "keep-alive"
        client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        reply = client.reply()
        assert reply.status == 200 and reply.headers["connection"] == "close"
        assert client.at_end()


def test_connection_close(shop: Any) -> None:
    with shop.client() as client:
        reply = client.ask("/v2/health/live", headers={"Connection": "close"})
        assert reply.headers["connection"] == "close" and client.at_end()


def test_expect_continue(shop: Any, tools: Any) -> None:
    head, _, body = infer(tools).partition(b"\r\n\r\n")
    with shop.client() as client:
        client.send(LIVE + head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.reply().json() == {"live": True}
        assert client.reply().status == 100
        client.send(body)
        assert client.reply().status == 200


def test_expect_continue_waits_for_the_reply_before_it(serve: Any, tools: Any) -> None:
    model = tools.model()
    running = serve(model, tools.sut(model, before=lambda query: time.sleep(0.2)))
    head, _, body = infer(tools).partition(b"\r\n\r\n")
    with running.client() as client:
        client.send(infer(tools) + head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert [client.reply().status for _ in range(2)] == [200, 100]
        client.send(body)
        assert client.reply().status == 200


def test_head_has_no_body(shop: Any) -> None:
    with shop.client() as client:
        reply = client.ask("/v2/health/ready", method="HEAD")
        assert reply.status == 200 and reply.headers["content-length"] == "14"
        assert client.ask("/v2/nowhere", method="HEAD").status == 404
        assert client.ask("/v2/health/live").json() == {"live": True}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"garbage\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /v2 HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (
            b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + b"a%d: b\r\n" * 200 % tuple(range(200)), 431),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
def test_what_is_not_taken_gets_a_json_error_and_an_end(
    shop: Any, message: bytes, status: int
) -> None:
    with shop.client() as client:
        client.send(message)
        reply = client.reply()
        assert reply.status == status, reply
        error = reply.json()["error"]
        assert reply.headers["connection"] == "close" and "expected" in error and "got" in error
        assert client.at_end()
    with shop.client() as client:
        assert client.ask("/v2/health/live").status == 200


def test_a_header_that_never_ends(serve: Any) -> None:
    running = serve(max_head_bytes=4096)
    with running.client() as client:
        client.send(b"GET /v2 HTTP/1.1\r\nHost: a\r\nx: ")
        for _ in range(4):
            time.sleep(0.05)
            client.send(b"y" * 2000)
        assert client.reply().status == 431


def test_a_trailer_that_never_ends(serve: Any) -> None:
    running = serve(max_head_bytes=4096)
    with running.client() as client:
        client.send(b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ")
        for _ in range(4):
            time.sleep(0.05)
            client.send(b"y" * 2000)
        assert client.reply().status == 431


@pytest.mark.parametrize("chunked", [False, True])
def test_oversize_bodies(serve: Any, chunked: bool) -> None:
    running = serve(max_body_bytes=1000)
    with running.client() as client:
        if chunked:
            head = b"Transfer-Encoding: chunked\r\n\r\n"
            client.send(b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: a\r\n" + head)
            client.send(b"1f4\r\n" + b"x" * 500 + b"\r\n" + b"1f5\r\n" + b"x" * 501 + b"\r\n")
        else:
            head = b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
            client.send(b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: a\r\n" + head)
        reply = client.reply()
        assert reply.status == 413 and "1000 bytes" in reply.json()["error"]
        assert client.at_end()
    with running.client() as client:
        assert client.ask("/v2/models/shop/infer", b"x" * 1000).status == 400


def test_all_bodies_together_are_bounded(serve: Any) -> None:
    running = serve(max_buffered_bytes=3000)
    half = b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 2000
    with running.client() as one, running.client() as two:
        one.send(half)
        time.sleep(0.1)
        two.send(half)
        reply = two.reply()
        assert reply.status == 503 and reply.headers["retry-after"] == "1"
    deadline = time.monotonic() + 5
    while True:  # what was held is given back
        with running.client() as client:
            text = client.ask("/metrics").body.decode()
        if "recstack_buffered_bytes 0.0" in text:
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", None),
        (b"\r\n\r\n", None),
        (LIVE, None),
        (b"GET /v2/health", 408),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", 408),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 408),
    ],
)
def test_slow_clients_are_given_up(serve: Any, message: bytes, status: int | None) -> None:
    running = serve(head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.2, linger_s=0.2)
    with running.client() as client:
        client.send(message)
        if message == LIVE:
            assert client.reply().status == 200
        if status is not None:
            assert client.reply().status == status
        assert client.at_end()


def test_a_slow_trickle_is_given_up(serve: Any) -> None:
    running = serve(head_timeout_s=0.3)
    with running.client() as client, pytest.raises(OSError):
        for byte in LIVE * 100:
            client.send(bytes([byte]))
            time.sleep(0.02)


def test_a_client_that_does_not_read_is_given_up(serve: Any) -> None:
    running = serve(write_timeout_s=0.3, max_pipeline=4)
    with running.client() as client:
        client.sock.settimeout(0.5)
        with pytest.raises(OSError):
            while True:
                client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    with running.client() as client:
        assert client.ask("/v2/health/live").status == 200


def test_a_truncated_request(shop: Any, tools: Any) -> None:
    with shop.client() as client:
        client.send(LIVE + infer(tools)[:-5])
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().json() == {"live": True}
        assert client.reply().status == 400
        assert client.at_end()


def test_a_client_that_closes_its_half_still_gets_its_reply(serve: Any, tools: Any) -> None:
    model = tools.model()
    running = serve(model, tools.sut(model, before=lambda query: time.sleep(0.2)))
    with running.client() as client:
        client.send(infer(tools))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().status == 200
        assert client.at_end()


def test_a_client_that_goes_is_forgotten(serve: Any, tools: Any) -> None:
    model = tools.model()
    running = serve(model, tools.sut(model, before=lambda query: time.sleep(0.1)))
    for _ in range(5):
        with running.client() as client:
            client.send(infer(tools) * 3)
    time.sleep(0.3)
    with running.client() as client:
        assert client.ask("/v2/health/live").status == 200


def test_too_many_connections(serve: Any) -> None:
    running = serve(max_connections=2)
    with running.client() as one, running.client() as two, running.client() as three:
        assert one.ask("/v2/health/live").status == 200
        assert two.ask("/v2/health/live").status == 200
        reply = three.reply()
        assert reply.status == 503 and reply.headers["retry-after"] == "1"


def test_an_upgrade_is_passed_over(shop: Any) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AA"}
    with shop.client() as client:
        assert client.ask("/v2/health/live", headers=offer).status == 200
        assert client.ask("/v2/health/live").status == 200
        assert client.ask("/v2/models/shop/infer", b"x", offer).status == 501


def test_deep_pipelines_wait_their_turn(serve: Any) -> None:
    running = serve(max_pipeline=2)
    with running.client() as client:
        client.send(LIVE * 3000)
        for _ in range(3000):
            assert client.reply().status == 200
