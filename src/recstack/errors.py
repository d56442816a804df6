"""The one exception tree of recstack.

RecstackError
|-- ConfigError            an option, argument or deployment file is wrong
|   |-- MissingExtra       an optional package is absent; says which extra to install
|   `-- Unprovable         labelled data that can prove nothing about a metric
|-- ModelError             a model description is malformed; `where` is the place in it
|   |-- ModelFileError     a model folder cannot be read or written
|   `-- RowError           a row of a table cannot be stored in a format
|-- BatchError             an input does not fit the model; `where` is the place in it
|   |-- IndexOutOfRange    a lookup index outside its table
|   `-- NonFinite          NaN or infinity in a dense input or a lookup weight
|-- DataError              a data file is malformed
|   |-- ResultWriteError   (results) a result file cannot be written
|   `-- ReportWriteError   (report) a page cannot be written
|-- ProcessFailed          (loadtest.apart) a process of the load generator failed
`-- Refused                a query was not served
    |-- QueueFull          the bounded queue had no room
    |-- DeadlineExceeded   the query's deadline passed, or could not be met
    `-- ShuttingDown       the dispatcher is being closed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class RecstackError(Exception):
    """Base of every error that recstack raises on purpose."""


class ConfigError(RecstackError):
    """An option, argument or deployment file is wrong."""


class MissingExtra(ConfigError):
    """An optional package is needed; names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: pip install 'recstack[{extra}]'")
        self.package = package
        self.extra = extra


class Unprovable(ConfigError):
    """Labelled data that can prove nothing about a metric, whatever the scores."""


class ModelError(RecstackError):
    """A model description is malformed. `where` names the place, such as `ops[3].weight`."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{message} - at `{where}`" if where else message)
        self.where = where


class ModelFileError(ModelError):
    """A model folder cannot be read or written. `where` names file and place."""


class RowError(ModelError):
    """A row of a table cannot be stored in a format. Carries `problem` and `row`."""

    def __init__(self, problem: str, row: int, table: str = "table") -> None:
        super().__init__(problem, f"{table}[{row}]")
        self.problem = problem
        self.row = row


class BatchError(RecstackError):
    """An input does not fit the model. `where` names the place, such as `lengths[2, 17]`."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{message} - at `{where}`" if where else message)
        self.where = where


class IndexOutOfRange(BatchError):
    """A lookup index lies outside its table.

    Carries `feature` (name), `row` (the row, or the query for a user-scope feature), `value` (the
    index found) and `limit` (rows of the table; valid indices are 0 <= index < limit).
    """

    def __init__(self, feature: str, row: int, value: int, limit: int) -> None:
        super().__init__(
            f"expected an index in [0, {limit}), got {value}", f"feature {feature!r}, row {row}"
        )
        self.feature = feature
        self.row = row
        self.value = value
        self.limit = limit


class NonFinite(BatchError):
    """NaN or infinity in an input. Carries `feature` (input name), `row`, `column` and `value`."""

    def __init__(self, feature: str, row: int, column: int, value: float) -> None:
        super().__init__(
            f"expected a finite float32, got {value}",
            f"input {feature!r}, row {row}, column {column}",
        )
        self.feature = feature
        self.row = row
        self.column = column
        self.value = value


class DataError(RecstackError):
    """A data file is malformed. The message names file and line."""


class Refused(RecstackError):
    """A query was not served; nothing of it was answered."""


class QueueFull(Refused):
    """The bounded queue had no room for the query."""


class DeadlineExceeded(Refused):
    """The query's deadline passed before its scores were ready, or was predicted to."""


class ShuttingDown(Refused):
    """The dispatcher is being closed."""


def first_fault(error: ValidationError) -> tuple[str, str]:
    """What pydantic found first, and where it is in the data: ("unknown key", "schedule.lane")."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    plain = {"extra_forbidden": "unknown key", "missing": "missing"}
    what = plain.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    got = fault.get("input")
    return what + (f", got {got!r:.80}" if isinstance(got, str | int | float) else ""), place
