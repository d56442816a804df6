"""Which endpoint a request's target means."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

GET = (b"GET", b"HEAD")
POST = (b"POST",)

_FIXED = {
    ("v2",): ("server", GET),
    ("v2", "health", "live"): ("live", GET),
    ("v2", "health", "ready"): ("ready", GET),
    ("v2", "models", "stats"): ("stats", GET),
    ("v2", "repository", "index"): ("index", POST),
    ("metrics",): ("metrics", GET),
}
_OF_MODEL = {
    (): ("model", GET),
    ("ready",): ("model_ready", GET),
    ("infer",): ("infer", POST),
    ("stats",): ("stats", GET),
    ("labels",): ("labels", POST),
}


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint, the methods that it allows, and the model and version that its path names."""

    endpoint: str
    methods: tuple[bytes, ...]
    model: str | None = None
    version: str | None = None


def find_route(target: bytes) -> Route | None:
    """The route of a request's target, None where there is none.

    A query string is passed over, one closing slash too; names are percent-decoded part by part.

    >>> find_route(b"/v2/models/a%2Fb/versions/1/infer")
    Route(endpoint='infer', methods=(b'POST',), model='a/b', version='1')
    """
    path = target.partition(b"?")[0].partition(b"#")[0]
    if path[:7].lower() == b"http://":  # the absolute form, as proxies send it
        path = b"/" + path[7:].partition(b"/")[2]
    if path[:1] != b"/":
        return None
    try:
        parts = [unquote_to_bytes(part).decode() for part in path[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    if parts[-1] == "":
        parts.pop()
    if (fixed := _FIXED.get(tuple(parts))) is not None:
        return Route(*fixed)
    if len(parts) < 3 or parts[:2] != ["v2", "models"] or not parts[2]:
        return None
    model, rest, version = parts[2], parts[3:], None
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    found = _OF_MODEL.get(tuple(rest))
    return None if found is None else Route(*found, model=model, version=version)
