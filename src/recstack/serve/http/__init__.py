"""HTTP/1.0 and 1.1 on asyncio.Protocol; knows nothing of inference.

`parser` is llhttp, `connection` one client, `hub` what all connections share, `exchange` one
request and its reply, `reply` a reply's bytes, `compression` a compressed body.
"""

from recstack.serve.http.exchange import App, Exchange
from recstack.serve.http.hub import Hub

__all__ = ["App", "Exchange", "Hub"]
