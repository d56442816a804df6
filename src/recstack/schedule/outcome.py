"""How a query ended, from what the native dispatcher says."""

from __future__ import annotations

from typing import NamedTuple

from recstack.types import Completion, Scores, Status

STAGES = ("queue", "assemble", "execute", "gather", "total")
# In the order of Status::Code in native/core/status.h.
_WHAT = (
    "ok",
    "expected an index in [0, {limit}), got {value} - at feature {feature}, entry {entry}",
    "expected a bag of at most {limit} indices, got {value} - at feature {feature}, entry {entry}",
    "expected a finite number - at dense input {feature}, entry {entry}, column {column}",
    "expected a finite weight - at feature {feature}, entry {entry}, position {column}",
)


class Failure(NamedTuple):
    """Why a query failed, as native/core/status.h numbers it.

    code: a `Status::Code`; feature, entry and column say where: positions among the sparse or dense
        inputs, of the row (or the query, for a user-scope input), and in the row or bag.
    text: the words of an executor that is not native.
    """

    code: int
    feature: int
    entry: int
    column: int
    value: int
    limit: int
    text: str

    def __str__(self) -> str:
        if 0 < self.code < len(_WHAT):
            return _WHAT[self.code].format(**self._asdict())
        return self.text or "the executor failed and did not say why"


def completion(
    query_id: int,
    status: Status,
    finish_ns: int,
    stages_ns: tuple[int, ...],
    scores: Scores,
    error: str,
) -> Completion:
    """The completion of a query that the dispatcher had accepted."""
    return Completion(
        id=query_id,
        status=status,
        finish_ns=finish_ns,
        scores=scores if status == "ok" else None,
        error=error,
        stages_ns=dict(zip(STAGES, stages_ns, strict=True)),
    )
