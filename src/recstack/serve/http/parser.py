"""The HTTP parser: httptools (llhttp), imported here and nowhere else."""

from __future__ import annotations

from typing import Protocol, cast

from recstack.errors import MissingExtra
from recstack.serve.http.status import HttpError


class Events(Protocol):
    """What the parser calls as it reads; each may raise HttpError to end the connection."""

    def on_message_begin(self) -> None: ...  # noqa: D102
    def on_url(self, part: bytes) -> None: ...  # noqa: D102
    def on_header(self, name: bytes, value: bytes) -> None: ...  # noqa: D102
    def on_headers_complete(self) -> None: ...  # noqa: D102
    def on_body(self, part: bytes) -> None: ...  # noqa: D102
    def on_message_complete(self) -> None: ...  # noqa: D102


class _Llhttp(Protocol):
    def feed_data(self, data: bytes) -> None: ...
    def get_method(self) -> bytes: ...
    def get_http_version(self) -> str: ...
    def should_keep_alive(self) -> bool: ...
    def should_upgrade(self) -> bool: ...


class Parser:
    """Feeds bytes to llhttp; faults come out as HttpError."""

    def __init__(self, events: Events) -> None:
        try:
            import httptools
        except ImportError:
            raise MissingExtra("httptools", "serve") from None
        self._fault: type[Exception] = httptools.HttpParserError
        self._upgrade: type[Exception] = httptools.HttpParserUpgrade
        self._llhttp = cast(_Llhttp, httptools.HttpRequestParser(events))
        self.method = self._llhttp.get_method
        self.version = self._llhttp.get_http_version
        self.keep_alive = self._llhttp.should_keep_alive
        self.upgrade = self._llhttp.should_upgrade

    def feed(self, data: bytes) -> None:
        """Parse `data`, calling the events.

        An offer to upgrade is passed over, as RFC 9110 allows. Raises HttpError 400 for bytes that
        are not HTTP, or what an event raised.
        """
        while data:
            try:
                self._llhttp.feed_data(data)
                return
            except self._upgrade as offer:
                data = data[offer.args[0] :]
            except self._fault as fault:
                cause = fault.__context__
                if cause is not None:
                    raise cause from None
                raise HttpError(400, f"expected HTTP, got another form: {fault}") from None


def require() -> None:
    """Raise MissingExtra where httptools is absent."""
    try:
        import httptools  # noqa: F401
    except ImportError:
        raise MissingExtra("httptools", "serve") from None
