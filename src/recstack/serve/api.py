"""The endpoints of the Open Inference Protocol, and the metrics page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recstack.errors import BatchError
from recstack.serve import labels
from recstack.serve.answer import refuse
from recstack.serve.exposition import CONTENT_TYPE, expose
from recstack.serve.http import Exchange, Hub
from recstack.serve.http.compression import coding_of, decompress
from recstack.serve.http.head import quoted
from recstack.serve.http.status import HttpError
from recstack.serve.infer import Inference
from recstack.serve.metrics import Metrics
from recstack.serve.protocol.reply import dumps
from recstack.serve.routes import Route, find_route
from recstack.serve.served import PLATFORM, VERSION, Served

EXTENSIONS = ["binary_tensor_data", "statistics", "schedule_policy", "parameters"]


class Api:
    """Answers every request of a server; `hub` is set once the server listens."""

    def __init__(self, models: Mapping[str, Served], inference: Inference, version: str) -> None:
        self._models = models
        self._inference = inference
        self._version = version
        self._metrics = Metrics({name: served.metrics for name, served in models.items()})
        self._hot = {f"/v2/models/{n}/infer".encode(): s for n, s in models.items() if _plain(n)}
        self._endpoints: dict[str, Callable[[Exchange, Route], None]] = {
            "server": self._server,
            "live": self._live,
            "ready": self._ready,
            "model": self._model,
            "model_ready": self._model_ready,
            "infer": self._infer,
            "stats": self._stats,
            "index": self._index,
            "metrics": self._page,
            "labels": self._labels,
        }
        self.hub: Hub | None = None

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        served = self._hot.get(exchange.target)
        try:
            if served is not None and exchange.method == b"POST":
                self._inference.start(exchange, served)
            else:
                self._route(exchange)
        except (HttpError, BatchError) as error:
            refuse(exchange, error)

    def rejected(self, exchange: Exchange) -> None:
        """Count a reply that concerns no model's infer."""
        self._metrics.other[exchange.status] += 1

    def sweep(self, now_ns: int) -> None:
        """Give up what has waited too long."""
        self._inference.sweep(now_ns)

    def _route(self, exchange: Exchange) -> None:
        exchange.observe = self.rejected
        route = find_route(exchange.target)
        if route is None:
            target = quoted(exchange.target)
            raise HttpError(404, f"expected an endpoint of this server, got {target}", "target")
        if exchange.method not in route.methods:
            allow = b", ".join(route.methods)
            message = f"expected {allow.decode()}, got {quoted(exchange.method)}"
            raise HttpError(405, message, "method", b"Allow: %b\r\n" % allow)
        self._endpoints[route.endpoint](exchange, route)

    def _served(self, route: Route) -> Served:
        name = route.model or ""
        served = self._models.get(name)
        if served is None:
            raise HttpError(
                404, f"expected a model of {self._names()}, got {name[:80]!r}", "target"
            )
        if route.version not in (None, VERSION):
            got = repr(route.version[:80])
            raise HttpError(404, f"expected version {VERSION!r}, got {got}", "target")
        return served

    def _names(self) -> str:
        names = [repr(name) for name in self._models]
        return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")

    @property
    def _is_ready(self) -> bool:
        return self.hub is not None and not self.hub.draining

    def _server(self, exchange: Exchange, route: Route) -> None:
        _send(exchange, {"name": PLATFORM, "version": self._version, "extensions": EXTENSIONS})

    def _live(self, exchange: Exchange, route: Route) -> None:
        _send(exchange, {"live": True})

    def _ready(self, exchange: Exchange, route: Route) -> None:
        ready = self._is_ready
        _send(exchange, {"ready": ready}, 200 if ready else 503)

    def _model_ready(self, exchange: Exchange, route: Route) -> None:
        served, ready = self._served(route), self._is_ready
        _send(exchange, {"name": served.name, "ready": ready}, 200 if ready else 503)

    def _model(self, exchange: Exchange, route: Route) -> None:
        _send(exchange, self._served(route).metadata())

    def _infer(self, exchange: Exchange, route: Route) -> None:
        self._inference.start(exchange, self._served(route))

    def _stats(self, exchange: Exchange, route: Route) -> None:
        served = self._models.values() if route.model is None else [self._served(route)]
        _send(exchange, {"model_stats": [s.statistics() for s in served]})

    def _labels(self, exchange: Exchange, route: Route) -> None:
        body = decompress(exchange.body, coding_of(exchange.headers), labels.MAX_BYTES)
        taken = labels.take(self._served(route).sut, body)
        _send(exchange, {"taken": taken})

    def _index(self, exchange: Exchange, route: Route) -> None:
        state = "READY" if self._is_ready else "UNAVAILABLE"
        models: list[dict[str, Any]] = [
            {"name": name, "version": VERSION, "state": state, "reason": ""}
            for name in self._models
        ]
        exchange.respond(200, dumps(models))

    def _page(self, exchange: Exchange, route: Route) -> None:
        gauges = {"ready": float(self._is_ready)}
        if self.hub is not None:
            gauges["connections"] = float(len(self.hub.connections))
            gauges["buffered_bytes"] = float(self.hub.buffered_bytes)
        suts = {name: served.sut_stats() for name, served in self._models.items()}
        exchange.respond(200, expose(self._metrics, gauges, suts), CONTENT_TYPE)


def _send(exchange: Exchange, body: Mapping[str, Any], status: int = 200) -> None:
    exchange.respond(status, dumps(body))


def _plain(name: str) -> bool:
    """Whether a name stands in a path as it is."""
    return name.isascii() and all(c.isalnum() or c in "-._~" for c in name)
