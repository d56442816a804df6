"""Both directions for one model: a request's bytes to a batch, scores to a reply's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from recstack.batch import Batch
from recstack.errors import BatchError
from recstack.model import Model
from recstack.serve.protocol import named, packed, reply
from recstack.serve.protocol.envelope import Envelope, flag, parse, timeout_us
from recstack.serve.protocol.queries import split
from recstack.serve.protocol.rows import Limits
from recstack.serve.protocol.schema import schema
from recstack.serve.protocol.tensor import Body
from recstack.types import Scores

NO_STAGES: Mapping[str, int] = MappingProxyType({})

__all__ = ["Codec", "Limits", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded infer request.

    batch: views of the request's body where its bytes lie aligned.
    binary: whether the scores are wanted as bytes after the JSON.
    timeout_us: the request's deadline from its arrival, None where it names none.
    """

    batch: Batch
    id: str | None
    binary: bool
    timeout_us: int | None


class Codec:
    """Decodes requests for one model and encodes its replies. Immutable.

    name: what replies call the model; its own name where none is given.
    """

    def __init__(self, model: Model, limits: Limits | None = None, name: str = "") -> None:
        self.schema = schema(model.inputs)
        self._limits = limits or Limits()
        self._width = model.output_width
        self._prefix = reply.prefix(name or model.name)

    def decode(self, body: Body, json_bytes: int | None = None) -> Request:
        """Read one request.

        body: JSON, then the binary tensors; it must not change while the batch is in use.
        json_bytes: Inference-Header-Content-Length, None where the whole body is JSON.

        Raises BatchError saying what was expected, what was found and where.
        """
        limits = self._limits
        envelope = parse(body, json_bytes, limits.max_json_bytes)
        form = self.schema.form(envelope.tensors, envelope.parameters.get("form"))
        read = packed.read if form == "packed" else named.read
        request = Request(
            batch=read(self.schema, envelope.tensors, limits),
            id=envelope.id,
            binary=_binary(envelope),
            timeout_us=timeout_us(envelope.parameters),
        )
        self._check_reply(request)
        return request

    def _check_reply(self, request: Request) -> None:
        """Raise BatchError for more scores than a reply may hold."""
        limits, scores = self._limits, request.batch.rows * self._width
        if not request.binary and 4 * scores > limits.max_json_bytes:
            most = limits.max_json_bytes // 4
            raise BatchError(
                f"expected at most {most} scores in JSON, got {scores}: ask for binary data",
                "outputs",
            )
        if 4 * scores > limits.max_reply_bytes:
            most = limits.max_reply_bytes // 4
            raise BatchError(f"expected at most {most} scores, got {scores}", "outputs")

    def split(self, batch: Batch) -> list[Batch]:
        """One batch per query."""
        return split(self.schema, batch)

    def encode(
        self, request: Request, scores: Scores, stages_ns: Mapping[str, int] = NO_STAGES
    ) -> tuple[bytes, bytes | None]:
        """The reply's JSON part, and its binary part where the request asked for one.

        scores: (rows, outputs) float32. stages_ns: durations to report, by stage.
        Raises ValueError for a score that JSON cannot hold.
        """
        start = reply.opening(self._prefix, request.id, stages_ns)
        if request.binary:
            return reply.binary_scores(start, scores)
        return reply.json_scores(start, scores), None


def _binary(envelope: Envelope) -> bool:
    """Whether the one output is wanted in binary: the output's own word, else the request's."""
    binary = flag(envelope.parameters, "binary_data_output", "parameters.")
    for i, (name, own) in enumerate(envelope.outputs):
        if name != reply.SCORES or i:
            wanted = "each output once" if name == reply.SCORES else repr(reply.SCORES)
            raise BatchError(f"expected {wanted}, got {name[:80]!r}", f"outputs[{i}]")
        binary = binary if own is None else own
    return bool(binary)
