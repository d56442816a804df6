"""The metrics as Prometheus text; prometheus_client is imported here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from recstack.errors import MissingExtra
from recstack.serve.metrics import Histogram, Metrics

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

NS = 1e-9
WAITING = "waiting_queries"  # the dispatcher's name for its queue's depth
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def require() -> None:
    """Raise MissingExtra where prometheus_client is absent."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise MissingExtra("prometheus-client", "serve") from None


def expose(
    metrics: Metrics, gauges: Mapping[str, float], suts: Mapping[str, Mapping[str, float]]
) -> bytes:
    """The metrics page.

    gauges: of the server, by name. suts: by model, what its SUT's `stats` reports; NAME/OUTPUT is
    NAME with a label `output`.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    class Snapshot:
        def collect(self) -> Iterable[Metric]:
            return _families(metrics, gauges, suts)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return bytes(generate_latest(registry))


def _families(
    metrics: Metrics, gauges: Mapping[str, float], suts: Mapping[str, Mapping[str, float]]
) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        UnknownMetricFamily,
    )

    requests = CounterMetricFamily(
        "recstack_requests", "Requests answered", labels=("model", "status")
    )
    rows = HistogramMetricFamily("recstack_rows", "Rows per infer request", labels=("model",))
    queries = CounterMetricFamily("recstack_queries", "Queries issued", labels=("model",))
    latency = HistogramMetricFamily(
        "recstack_request_seconds",
        "From a request read whole to its reply",
        labels=("model", "outcome"),
    )
    stages = HistogramMetricFamily(
        "recstack_stage_seconds", "Time per stage", labels=("model", "stage")
    )
    flying = GaugeMetricFamily("recstack_in_flight", "Requests being answered", labels=("model",))
    for status, count in sorted(metrics.other.items()):
        requests.add_metric(("", str(status)), count)
    for name, model in metrics.models.items():
        for status, count in sorted(model.replies.items()):
            requests.add_metric((name, str(status)), count)
        _add(rows, (name,), model.rows, 1)
        queries.add_metric((name,), model.queries)
        _add(latency, (name, "ok"), model.ok, NS)
        _add(latency, (name, "failed"), model.failed, NS)
        for stage, histogram in model.stages.items():
            _add(stages, (name, stage), histogram, NS)
        flying.add_metric((name,), model.in_flight)
    yield from (requests, rows, queries, latency, stages, flying)
    for name, value in gauges.items():
        yield GaugeMetricFamily(f"recstack_{name}", _words(name), value=value)
    depth = GaugeMetricFamily("recstack_queue_depth", "Queries that wait", labels=("model",))
    found: dict[str, list[tuple[str, str, float]]] = {}
    for name, stats in suts.items():
        for key, value in stats.items():
            short, _, output = key.partition("/")
            found.setdefault(short, []).append((name, output, value))
    for short, values in sorted(found.items()):
        several = any(output for _, output, _ in values)
        labels = ("model", "output") if several else ("model",)
        family = UnknownMetricFamily(f"recstack_sut_{short}", _words(short), labels=labels)
        for name, output, value in values:
            family.add_metric((name, output) if several else (name,), value)
        yield family
    for name, _, value in found.get(WAITING, ()):
        depth.add_metric((name,), value)
    yield depth


def _add(
    family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram, unit: float
) -> None:
    buckets = [
        ("+Inf" if bound is None else repr(round(bound * unit, 9)), count)
        for bound, count in histogram.cumulative()
    ]
    family.add_metric(labels, buckets=buckets, sum_value=histogram.total * unit)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
