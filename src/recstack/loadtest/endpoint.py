"""An inference server to be loaded: where it is, and what it says of a model."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from recstack.errors import ConfigError
from recstack.loadtest.http1 import Response
from recstack.loadtest.oip import Metadata, decode, parse_metadata
from recstack.types import Scores, Status

_STATUS: dict[int, Status] = {503: "queue_full", 504: "deadline"}


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Which server, and the client's bounds.

    url: `http://host:port`.
    model: its name there.
    connections: at most so many; `opened` of them before the run. Too few, and queries wait in the
        client (stage `client_wait`) instead of in the server.
    max_waiting: queries that wait for a connection; more end with an error.
    spin_us: before each time of a whole schedule it spins for so long instead of sleeping, unless a
        query is under way, as the server may then need the core. Earlier by the median, and where
        the server has the same cores later by p99 (LOG.md).
    """

    url: str
    model: str
    connections: int = 128
    opened: int = 8
    max_waiting: int = 10_000
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 30.0
    max_response_bytes: int = 64 << 20
    spin_us: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.opened <= self.connections or self.connections < 1:
            raise ConfigError(
                "expected connections >= 1 and 0 <= opened <= connections, "
                f"got {self.connections}, {self.opened}"
            )
        for name in ("max_waiting", "connect_timeout_s", "request_timeout_s", "max_response_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} > 0, got {getattr(self, name)}")
        if not 0 <= self.spin_us <= 1e6:
            raise ConfigError(f"expected 0 <= spin_us <= 1e6, got {self.spin_us}")
        self.address()

    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise ConfigError(f"expected http://host:port, got {self.url!r}: {error}") from error
        if parts.scheme != "http" or not host or parts.path not in ("", "/"):
            raise ConfigError(f"expected http://host:port, got {self.url!r}")
        return host, port


def reached(config: HttpConfig) -> tuple[str, int, int, int]:
    """The address at which the server answers, of those that its name has: IP, port, flow, scope.

    Where none does, the first: its queries then end in errors. ConfigError for an unknown name.
    """
    host, port = config.address()
    try:
        with socket.create_connection((host, port), config.connect_timeout_s) as sock:
            address = sock.getpeername()
    except socket.gaierror as error:
        raise ConfigError(f"cannot reach {config.url}: {error}") from error
    except OSError:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
    flow, scope = address[2:] or (0, 0)
    return address[0].partition("%")[0], port, flow, scope


def fetch_metadata(config: HttpConfig) -> Metadata:
    """Ask the server what the model's inputs and outputs are.

    Raises
    ------
    ConfigError: the server cannot be reached or does not know the model.
    """
    host, port = config.address()
    connection = http.client.HTTPConnection(host, port, timeout=config.connect_timeout_s)
    try:
        connection.request("GET", f"/v2/models/{quote(config.model, safe='')}")
        answer = connection.getresponse()
        body = answer.read(1 << 24)
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(f"cannot reach {config.url}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ConfigError(
            f"{config.url}: model {config.model!r}: {error_text(answer.status, body)}"
        )
    return parse_metadata(body)


class Answer(NamedTuple):
    """What a server says of a query."""

    status: Status
    scores: Scores | None
    error: str
    stages_ns: dict[str, int]


def read_answer(response: Response, output: str, rows: int) -> Answer:
    """A response to a query of so many rows, whatever it is."""
    if response.status != 200:
        status = _STATUS.get(response.status, "error")
        return Answer(status, None, error_text(response.status, response.body), {})
    try:
        length = response.headers.get("inference-header-content-length")
        header_bytes = None if length is None else int(length)
        scores, reported = decode(response.body, header_bytes, output, rows)
    except ValueError as error:
        return Answer("error", None, f"bad answer: {error}", {})
    return Answer("ok", scores, "", reported)


def error_text(status: int, body: bytes) -> str:
    """What an HTTP error answer says, in one line.

    >>> error_text(404, b'{"error": "unknown model"}')
    'HTTP 404: unknown model'
    """
    try:
        return f"HTTP {status}: {json.loads(body)['error']}"[:300]
    except (KeyError, RecursionError, TypeError, ValueError):
        return f"HTTP {status}: {body[:250].decode('utf-8', 'replace')}"
