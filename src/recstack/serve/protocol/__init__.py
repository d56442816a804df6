"""The Open Inference Protocol v2 as pure functions on bytes; no sockets.

`envelope` reads the JSON part and slices the binary one, `packed` and `named` make a batch of the
two forms of input, `queries` takes a batch apart by query, `reply` writes the answer, `codec` puts
them together for one model.
"""

from recstack.serve.protocol.codec import Codec, Limits, Request

__all__ = ["Codec", "Limits", "Request"]
