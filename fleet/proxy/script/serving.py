"""An upstream served over HTTP as it is: for clients without the proxy, and as a provider to test
against. A cut of the upstream's is a cut of the client's connection."""

from __future__ import annotations

from collections.abc import Callable

from fleet.proxy.http.server import Exchange
from fleet.proxy.wire import Failure, Headers, Outgoing, Sending, Upstream


def front_of(upstream: Upstream) -> Callable[[Exchange], None]:
    """What `Server.listen` wants to know of it."""

    def accept(exchange: Exchange) -> None:
        _Passage(upstream, exchange)

    return accept


class _Passage:
    """The sink of one call: straight into its exchange."""

    __slots__ = ("_exchange", "_sending")

    def __init__(self, upstream: Upstream, exchange: Exchange) -> None:
        self._exchange = exchange
        request = exchange.request
        outgoing = Outgoing(request.method, request.target, request.headers, request.body)
        self._sending: Sending = upstream.send(outgoing, self)
        exchange.on_gone = self._sending.cancel
        exchange.on_writable = self._sending.resume

    def head(self, status: int, headers: Headers) -> None:
        self._exchange.start(status, headers, None)

    def data(self, data: bytes) -> None:
        self._exchange.write(data)
        if not self._exchange.writable:
            self._sending.pause()

    def end(self) -> None:
        self._exchange.end()

    def failed(self, failure: Failure) -> None:
        self._exchange.abort()
