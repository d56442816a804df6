from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from recstack.serve.http.compression import decompress
from recstack.serve.http.status import HttpError

RAW = zlib.compressobj(wbits=-15)
TEXT = b"recstack " * 1000
CODED = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "raw": RAW.compress(TEXT) + RAW.flush(),
}


@pytest.mark.parametrize("name", CODED)
def test_codings(name: str) -> None:
    coding = "deflate" if name == "raw" else name
    assert decompress(CODED[name], coding, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("body", "coding", "limit", "status"),
    [
        (CODED["gzip"], "br", 10**6, 415),
        (CODED["gzip"], "gzip, gzip", 10**6, 415),
        (CODED["gzip"], "gzip", len(TEXT) - 1, 413),
        (CODED["gzip"][:-9], "gzip", 10**6, 400),
        (CODED["gzip"] + b"x", "gzip", 10**6, 400),
        (CODED["deflate"], "gzip", 10**6, 400),
        (b"", "gzip", 10**6, 400),
        (b"", "deflate", 10**6, 400),
        (b"not deflate", "deflate", 10**6, 400),
    ],
)
def test_faults(body: bytes, coding: str, limit: int, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        decompress(body, coding, limit)
    assert caught.value.status == status


@pytest.mark.parametrize("rows", [1, 2000])  # inline and in a thread
def test_a_compressed_infer(shop: Any, tools: Any, rows: int) -> None:
    body, json_bytes = tools.encode(tools.packed(tools.batch(rows)))
    with shop.client() as client:
        for coding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
            reply = client.infer(pack(body), json_bytes, **{"Content-Encoding": coding})
            assert reply.json()["outputs"][0]["shape"] == [rows, 2]
            damaged = pack(body)[:-1]
            assert client.infer(damaged, json_bytes, **{"Content-Encoding": coding}).status == 400


def test_what_bodies_grow_to_counts_as_held(serve: Any, tools: Any) -> None:
    body, json_bytes = tools.encode(tools.packed(tools.batch(2000)))
    packed = gzip.compress(body)
    running = serve(max_buffered_bytes=len(body))
    with running.client() as client:
        assert len(packed) < len(body)
        reply = client.infer(packed, json_bytes, **{"Content-Encoding": "gzip"})
        assert reply.status == 503 and reply.headers["retry-after"] == "1"
        assert "recstack_buffered_bytes 0.0" in client.ask("/metrics").body.decode()
        assert client.infer(body, json_bytes).status == 200


def test_a_bomb(serve: Any) -> None:
    running = serve(max_body_bytes=1 << 20)
    bomb = gzip.compress(bytes(100 << 20))
    with running.client() as client:
        reply = client.infer(bomb, **{"Content-Encoding": "gzip"})
        assert reply.status == 413
        assert client.ask("/v2/health/live").status == 200
