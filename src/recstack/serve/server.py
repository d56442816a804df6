"""A server: models and their SUTs behind one address."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from recstack.clock import RealClock
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.serve import exposition
from recstack.serve.api import Api
from recstack.serve.bridge import Bridge
from recstack.serve.config import ServeConfig
from recstack.serve.http import Hub
from recstack.serve.http import parser as http_parser
from recstack.serve.http.fault import logger
from recstack.serve.infer import Inference
from recstack.serve.loop import new_loop
from recstack.serve.protocol import Limits
from recstack.serve.served import Served
from recstack.types import SUT, Clock

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server:
    """Serves models over HTTP, in a thread of its own or in the caller's.

    models: by the name in their URLs. The SUTs stay the caller's: `stop` does not close them.

        with Server({"rm2": (model, sut)}) as server:
            print(server.url)
    """

    def __init__(
        self,
        models: Mapping[str, tuple[Model, SUT]],
        config: ServeConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not models or not all(models):
            raise ConfigError("expected at least one model, each with a name")
        self._config = config or ServeConfig()
        self._clock = clock or RealClock()
        limits = Limits(
            max_json_bytes=self._config.max_json_bytes,
            max_rows=self._config.max_rows,
            max_queries=self._config.max_queries,
            max_reply_bytes=self._config.max_body_bytes,
        )
        self._models = {n: Served(n, model, sut, limits) for n, (model, sut) in models.items()}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where the server listens, such as http://127.0.0.1:8000."""
        host = self._config.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> int:
        """Serve in a thread; returns the bound port once connections are accepted.

        Raises ConfigError where the address cannot be bound, MissingExtra without the extra.
        """
        if self._thread is not None:
            raise ConfigError("the server has been started already")
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._thread_main, args=(ready,), name="recstack-serve", daemon=True
        )
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            failure, self._failure = self._failure, None
            raise failure
        return self.port

    def stop(self) -> None:
        """Answer what is in flight, close every connection and end the thread. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ask_to_stop()
        thread.join()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serve_forever(self, on_bound: Callable[[Server], None] = lambda server: None) -> None:
        """Serve in the caller's thread until SIGTERM or SIGINT, then drain and return.

        A second signal ends the draining. on_bound: called once `port` and `url` are known. The
        process is taken to be the server's own: what exists now is put out of the collector's
        sight, which else stops requests for milliseconds to look through it.
        """
        gc.collect()
        gc.freeze()
        try:
            self._run(lambda: on_bound(self))
        finally:
            gc.unfreeze()

    def _thread_main(self, ready: threading.Event) -> None:
        try:
            self._run(ready.set)
        except BaseException as error:
            if ready.is_set():
                raise
            self._failure = error
        finally:
            ready.set()

    def _run(self, on_bound: Callable[[], None]) -> None:
        http_parser.require()
        exposition.require()
        loop = new_loop()
        try:
            loop.run_until_complete(self._main(loop, on_bound))
        finally:
            self._loop = None
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _main(self, loop: asyncio.AbstractEventLoop, on_bound: Callable[[], None]) -> None:
        bridge = Bridge(loop)
        inference = Inference(self._config, self._clock, loop, bridge)
        from recstack import __version__

        api = Api(self._models, inference, __version__)
        hub = Hub(api, self._config, self._clock, loop)
        host = await self._address(loop)
        try:
            self.port = await hub.open(host)
        except OSError as error:
            address = f"{self._config.host}:{self._config.port}"
            reason = os.strerror(error.errno) if error.errno else error
            raise ConfigError(f"cannot listen on {address}: {reason}") from None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._loop = loop
        signals = self._catch_signals(loop)
        try:
            bridge.watch(served.sut for served in self._models.values())
            api.hub = hub
            on_bound()
            await self._stop.wait()
        finally:
            await hub.drain(self._hurry)
            bridge.close()
            inference.close()
            for number in signals:
                loop.remove_signal_handler(number)

    def _ask_to_stop(self) -> None:
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            try:
                loop.call_soon_threadsafe(stop.set)
            except RuntimeError:  # it has ended by itself
                return

    def _catch_signals(self, loop: asyncio.AbstractEventLoop) -> tuple[signal.Signals, ...]:
        if threading.current_thread() is not threading.main_thread():
            return ()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        return SIGNALS

    def _on_signal(self) -> None:
        assert self._stop is not None and self._hurry is not None
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _address(self, loop: asyncio.AbstractEventLoop) -> str:
        """What to bind: the host, or its first address where each would take another free port."""
        host = self._config.host
        try:
            found = await loop.getaddrinfo(host, self._config.port)
        except OSError as error:
            raise ConfigError(f"cannot find the host {host!r}: {error.strerror}") from None
        if not all(ip_address(address[4][0]).is_loopback for address in found):
            logger.warning("listening on %s: other machines can reach this server", host)
        return host if self._config.port else str(found[0][4][0])
