from __future__ import annotations

import gzip
import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recstack.serve.routes import find_route


def test_server(shop: Any) -> None:
    with shop.client() as client:
        for path in ("/v2", "/v2/", "/v2?a=b", "http://h/v2"):
            answer = client.ask(path).json()
            assert answer["name"] == "recstack" and "binary_tensor_data" in answer["extensions"]


def test_health(shop: Any) -> None:
    with shop.client() as client:
        assert client.ask("/v2/health/live").json() == {"live": True}
        assert client.ask("/v2/health/ready").json() == {"ready": True}
        assert client.ask("/v2/models/shop/ready").json() == {"name": "shop", "ready": True}
        assert client.ask("/v2/models/shop/versions/1/ready").status == 200


def test_metadata(shop: Any) -> None:
    with shop.client() as client:
        answer = client.ask("/v2/models/shop").json()
        assert client.ask("/v2/models/shop/versions/1").json() == answer
    shapes = {i["name"]: (i["datatype"], i["shape"]) for i in answer["inputs"]}
    assert shapes == {
        "price": ("FP32", [-1, 3]),
        "age": ("FP32", [-1, 2]),
        "item": ("INT64", [-1, 1]),
        "tags": ("INT64", [-1]),
        "tags.lengths": ("INT32", [-1]),
        "history": ("INT64", [-1]),
        "history.lengths": ("INT32", [-1]),
        "history.weights": ("FP32", [-1]),
    }
    assert answer["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}]
    packed = [i["name"] for i in answer["parameters"]["packed_inputs"]]
    assert packed == ["dense", "user_dense", "values", "lengths", "weights", "query_offsets"]
    user = answer["parameters"]["user_inputs"]
    assert user == ["age", "history", "history.lengths", "history.weights"]
    columns = answer["parameters"]["score_columns"]
    assert sum(one["columns"] for one in columns) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2//health/live", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/", 404),
        ("GET", "/v2/models/nope", 404),
        ("GET", "/v2/models/nope/ready", 404),
        ("GET", "/v2/models/%ff", 404),
        ("GET", "/v2/models/shop/versions/2", 404),
        ("GET", "/v2/models/shop/versions", 404),
        ("POST", "/v2/models/nope/infer", 404),
        ("POST", "/v2/models/shop/versions/7/infer", 404),
        ("GET", "/v2/models/shop/infer", 405),
        ("PUT", "/v2/models/shop/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("DELETE", "/v2/models/shop", 405),
        ("OPTIONS", "/v2", 405),
        ("GET", "/v2/repository/index", 405),
    ],
)
def test_wrong_paths_and_methods(shop: Any, method: str, path: str, status: int) -> None:
    with shop.client() as client:
        reply = client.ask(path, method=method)
        error = reply.json()
        assert reply.status == status and "expected" in error["error"] and "got" in error["error"]
        assert error["where"] == ("method" if status == 405 else "target")
        assert ("allow" in reply.headers) == (status == 405)
        assert client.ask("/v2/health/live").status == 200


def test_names_are_percent_decoded(serve: Any, tools: Any) -> None:
    running = serve(tools.model("a/b ü"))
    body, json_bytes = tools.encode(tools.packed(tools.batch(2)))
    with running.client() as client:
        assert client.ask("/v2/models/a%2Fb%20%C3%BC").json()["name"] == "a/b ü"
        reply = client.infer(body, json_bytes, model="a%2fb%20%c3%bc")
        assert reply.json()["model_name"] == "a/b ü"


def test_statistics_and_index(serve: Any, tools: Any) -> None:
    running = serve()
    body, json_bytes = tools.encode(tools.packed(tools.batch(6, 2)))
    with running.client() as client:
        for _ in range(3):
            assert client.infer(body, json_bytes).status == 200
        assert client.infer(b"x").status == 400
        (stats,) = client.ask("/v2/models/shop/stats").json()["model_stats"]
        assert client.ask("/v2/models/stats").json()["model_stats"][0]["name"] == "shop"
        index = client.ask("/v2/repository/index", b"{}").json()
        client.send(b"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.reply().json() == index
    assert stats["inference_count"] == 18
    assert stats["inference_stats"]["success"]["count"] == 3
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert index == [{"name": "shop", "version": "1", "state": "READY", "reason": ""}]


def test_metrics(serve: Any, tools: Any) -> None:
    running = serve()
    body, json_bytes = tools.encode(tools.packed(tools.batch(6)))
    with running.client() as client:
        for _ in range(3):
            client.infer(body, json_bytes)
        client.infer(b"x")
        client.ask("/nowhere")
        reply = client.ask("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    samples = {
        (s.name, *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(reply.body.decode())
        for s in family.samples
    }
    assert samples["recstack_requests_total", "200", "shop"] == 3
    assert samples["recstack_requests_total", "400", "shop"] == 1
    assert samples["recstack_requests_total", "", "404"] == 1
    assert samples["recstack_rows_sum", "shop"] == 18
    assert samples["recstack_request_seconds_count", "ok", "shop"] == 3
    assert samples["recstack_request_seconds_bucket", "+Inf", "ok", "shop"] == 3
    assert samples["recstack_stage_seconds_count", "execute", "shop"] == 3
    assert samples["recstack_in_flight", "shop"] == 0
    assert samples["recstack_queue_depth", "shop"] == 3
    assert samples[("recstack_connections",)] == 1


def test_routes_do_not_confuse_names() -> None:
    assert find_route(b"/v2/models/infer/infer").model == "infer"
    assert find_route(b"/v2/models/versions/versions/1/infer").version == "1"
    assert find_route(b"*") is None and find_route(b"") is None


class Learner:
    """Answers nothing; takes the labels of one query."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def issue(self, query: Any, done: Any) -> None: ...

    def close(self) -> None: ...

    def label(self, key: str, labels: Any) -> bool:
        self.taken[key] = labels.tolist()
        return key == "7"


def test_labels_reach_a_model_that_is_monitored(serve: Any, shop: Any) -> None:
    learner = Learner()
    path, sent = "/v2/models/shop/labels", b'{"id": "7", "labels": [0, 1, null]}'
    with serve(sut=learner).client() as client:
        assert client.ask(path, sent).json() == {"taken": True}
        assert learner.taken["7"][:2] == [0, 1] and math.isnan(learner.taken["7"][2])
        assert client.ask(path, b'{"id": "8", "labels": []}').json() == {"taken": False}
        zipped = client.ask(path, gzip.compress(sent), {"Content-Encoding": "gzip"})
        assert zipped.json() == {"taken": True}
        for wrong, message in (
            (b"{", "expected JSON"),
            (b"\xff", "expected UTF-8"),
            (b"[" * 9999, "nested"),
            (b"[]", "expected a JSON object, got an empty list"),
            (b'{"id": 7}', "expected the id of a request, got 7 - at `id`"),
            (b'{"id": "7"}', "expected a list, got none - at `labels`"),
            (b'{"id": "7", "labels": ["1"]}', "got a string - at `labels`"),
            (b'{"id": "7", "labels": [true]}', "got a boolean"),
            (b'{"id": "7", "labels": [NaN]}', "got NaN"),
            (b'{"id": "7", "labels": [[0], [0, 1]]}', "as many labels in every row"),
            (b'{"id": "7", "labels": [1%s]}' % (b"0" * 400), "past 64 bits"),
        ):
            reply = client.ask(path, wrong)
            assert reply.status == 400 and message in reply.json()["error"], reply
        long = b'{"id": "7", "labels": [%s0]}' % (b"0," * (1 << 19))
        assert client.ask(path, long).status == 413
        assert client.ask(path).status == 405
    with shop.client() as client:
        assert client.ask(path, sent).status == 404
