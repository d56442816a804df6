"""HTTP statuses, and the error that carries one."""

from __future__ import annotations

from http import HTTPStatus

from recstack.errors import RecstackError

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
RETRY = b"Retry-After: 1\r\n"


class HttpError(RecstackError):
    """A request that is answered with an error status and a JSON body.

    where: the place in the request, such as `content-length`. headers: further lines of the reply,
    each ended by CRLF.
    """

    def __init__(self, status: int, message: str, where: str = "", headers: bytes = b"") -> None:
        super().__init__(f"{message} - at `{where}`" if where else message)
        self.status = status
        self.where = where
        self.headers = headers
