"""A server that answers every query with the same bytes: what an HTTP client alone costs."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from multiprocessing.connection import Connection
from typing import Self, cast

from recstack.loadtest.apart import ProcessFailed
from recstack.loadtest.endpoint import HttpConfig
from recstack.loadtest.http import HttpSUT, new_event_loop
from recstack.loadtest.oip import Metadata

MODEL = "null"


class NullServer:
    """A process of its own on a free port of the loopback; a context manager.

    Every answer has one score for each of `rows` rows: send queries of that size.

    Raises
    ------
    ProcessFailed: the process did not start.
    """

    def __init__(self, rows: int = 1) -> None:
        # A forked child would inherit locks held by native threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(theirs, rows), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not ours.poll(60.0):
                raise ProcessFailed("the null server did not start within 60 s")
            self.url = f"http://127.0.0.1:{ours.recv()}"
        except EOFError:
            raise ProcessFailed("the null server died") from None
        finally:
            ours.close()

    def client(self) -> HttpSUT:
        """A client of it; close it when done."""
        return HttpSUT(HttpConfig(self.url, MODEL), Metadata(MODEL, {}, ("scores",)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join(timeout=10.0)


class _Protocol(asyncio.Protocol):
    """Counts the bytes of each request and answers; nothing is parsed but the length."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._got = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            length = self._got.rfind(b"\r\nContent-Length: ", 0, end) + 18
            whole = end + 4 + int(self._got[length:end].split(b"\r\n", 1)[0])
            if len(self._got) < whole:
                return
            del self._got[:whole]
            self._transport.write(self._answer)


def _serve(theirs: Connection, rows: int) -> None:
    tensor = {
        "name": "scores",
        "datatype": "FP32",
        "shape": [rows, 1],
        "parameters": {"binary_data_size": 4 * rows},
    }
    header = json.dumps({"model_name": MODEL, "outputs": [tensor]}).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n"
        f"Content-Length: {len(header) + 4 * rows}\r\n\r\n"
    )
    answer = head.encode() + header + bytes(4 * rows)
    loop = new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Protocol(answer), "127.0.0.1", 0))
    theirs.send(server.sockets[0].getsockname()[1])
    theirs.close()
    loop.run_forever()
