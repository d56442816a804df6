"""JSON as clients send it: read strictly, and told in words what it holds."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from recstack.errors import BatchError

_SORTS = {bool: "a boolean", dict: "an object", str: "a string", float: "a float"}


def loads(text: bytes) -> Any:
    """The value of a JSON text; BatchError for what JSON does not know, NaN for one."""
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise BatchError("expected less deeply nested JSON", "body") from None
    except UnicodeDecodeError as error:
        raise BatchError(f"expected UTF-8, got another byte at {error.start}", "body") from None
    except json.JSONDecodeError as error:
        message = f"expected JSON, got a fault at byte {error.pos}: {error.msg}"
        raise BatchError(message, "body") from None
    except ValueError:
        raise BatchError("expected JSON with numbers of at most 4300 digits", "body") from None


def sort_of(value: Any) -> str:
    """What `value` is, without quoting what it holds beyond an integer.

    >>> sort_of(-2), sort_of([7]), sort_of("secret")
    ('-2', 'a list', 'a string')
    """
    if value is None:
        return "none"
    if type(value) is int:
        return str(value) if abs(value) < 1 << 63 else "an integer past 64 bits"
    if type(value) is list:
        return "a list" if value else "an empty list"
    return _SORTS[type(value)]


def shown(value: Any) -> str:
    """As `sort_of`, but a string, such as a name, is quoted: its first 80 characters."""
    return repr(value[:80]) if type(value) is str else sort_of(value)


def _no_constant(name: str) -> NoReturn:
    raise BatchError(f"expected JSON numbers, got {name}", "body")
