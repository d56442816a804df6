"""HTTP statuses, and the error that carries one."""

from __future__ import annotations

from http import HTTPStatus

from recstack.errors import RecstackError

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class HttpError(RecstackError):
    """A request that is answered with an error status and a JSON body.

    headers: further lines of the reply, each ended by CRLF.
    """

    def __init__(self, status: int, message: str, headers: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
