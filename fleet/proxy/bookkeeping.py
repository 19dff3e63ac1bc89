"""The books: every call and every request becomes a row, and is counted.

Told in the event loop, so nothing waits here: rows go to the writer's thread, counters are plain
integers. A row whose price is still being looked up is held back until that has ended, as long as
there are not too many of them; the oldest is then written down as unpriced.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

from fleet.core.traffic import BYPASS, JOINED, LEADER, REPLAYED, Call, Ended, Served, Totals
from fleet.core.usage import NOTHING, Usage
from fleet.proxy.pricing import Quote
from fleet.proxy.stage import Times

HELD = 8192  # rows of some 600 bytes
MODELS = 200  # counted apart; more are "other": their names are the agents' to invent
OTHER = "other"
FIELDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")


class Writer(Protocol):
    """Of rows: `CallsWriter`, or a test."""

    def add(self, row: Call | Served) -> None: ...


class Tokens:
    """A sum of usages."""

    __slots__ = (*FIELDS, "estimated")

    def __init__(self) -> None:
        self.input = self.cache_read = self.cache_write_5m = self.cache_write_1h = 0
        self.output = self.reasoning = 0
        self.estimated = False

    def add(self, usage: Usage) -> None:
        self.input += usage.input
        self.cache_read += usage.cache_read
        self.cache_write_5m += usage.cache_write_5m
        self.cache_write_1h += usage.cache_write_1h
        self.output += usage.output
        self.reasoning += usage.reasoning
        if usage.estimated:
            self.estimated = True

    @property
    def usage(self) -> Usage:
        return Usage(**{name: getattr(self, name) for name in FIELDS}, estimated=self.estimated)


class Requests:
    """Those with one endpoint, model and dedup."""

    __slots__ = ("bytes", "count", "gone", "saved", "saved_cost", "saved_unpriced", "total")

    def __init__(self) -> None:
        self.count = self.gone = self.bytes = self.saved_cost = self.saved_unpriced = 0
        self.saved = Tokens()
        self.total = Times()

    def add(self, row: Served) -> None:
        self.count += 1
        self.bytes += row.bytes
        self.total.record(row.total_s)
        if row.gone:
            self.gone += 1
        if row.saved is not NOTHING:
            self.saved.add(row.saved)
            self.saved_cost += row.saved_cost
            if not row.priced and row.saved:
                self.saved_unpriced += 1


class Calls:
    """Those to one upstream for one model."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "cost",
        "count",
        "ends",
        "first_byte",
        "tokens",
        "total",
        "unpriced",
    )

    def __init__(self) -> None:
        self.count = self.bytes_in = self.bytes_out = self.cost = self.unpriced = 0
        self.ends: dict[tuple[Ended, int, str], int] = {}  # status and fault with it
        self.tokens = Tokens()
        self.first_byte, self.total = Times(), Times()

    def add(self, row: Call) -> None:
        self.count += 1
        self.bytes_in += row.bytes_in
        self.bytes_out += row.bytes_out
        end = row.ended, row.status, row.fault
        self.ends[end] = self.ends.get(end, 0) + 1
        self.total.record(row.total_s)
        if row.first_byte_s:
            self.first_byte.record(row.first_byte_s)
        self.tokens.add(row.usage)
        self.cost += row.cost
        if not row.priced and row.usage:
            self.unpriced += 1


class _Held(NamedTuple):
    row: Call | Served
    quote: Quote


class Books:
    def __init__(self, writer: Writer) -> None:
        self.requests: dict[tuple[str, str, str], Requests] = {}  # endpoint, model, dedup
        self.calls: dict[tuple[str, str], Calls] = {}  # upstream, model
        self.away: dict[int, int] = {}  # by status: nobody knows who asked, or for what
        self._add = writer.add
        self._models: dict[str, str] = {}
        self._held: deque[_Held] = deque()

    def call(self, row: Call, quote: Quote | None = None) -> None:
        """`quote`: the price `row` was made with, which may not have come yet."""
        if quote is not None and not quote.ready:
            self._hold(row, quote)
            return
        key = row.upstream, self._named(row.model)
        found = self.calls.get(key)
        if found is None:
            found = self.calls[key] = Calls()
        found.add(row)
        self._add(row)

    def served(self, row: Served, quote: Quote | None = None) -> None:
        """`quote`: of the model that would have been asked, had the answer not been shared."""
        if quote is not None and not quote.ready and row.saved:
            self._hold(row, quote)
            return
        key = row.endpoint, self._named(row.model), row.dedup
        found = self.requests.get(key)
        if found is None:
            found = self.requests[key] = Requests()
        found.add(row)
        self._add(row)

    def turned_away(self, status: int) -> None:
        """A request that got no further than the door."""
        self.away[status] = self.away.get(status, 0) + 1

    def _named(self, model: str) -> str:
        found = self._models.get(model)
        if found is not None:
            return found
        if len(self._models) >= MODELS:
            return OTHER
        self._models[model] = model
        return model

    # -- prices that come later -------------------------------------------------------------

    def tick(self) -> None:
        """A few times a second: write what has its price now."""
        for _ in range(len(self._held)):
            held = self._held.popleft()
            if held.quote.ready:
                self._let_go(held)
            else:
                self._held.append(held)

    def close(self) -> None:
        """Hold nothing back any longer."""
        while self._held:
            self._let_go(self._held.popleft())

    def _hold(self, row: Call | Served, quote: Quote) -> None:
        if len(self._held) >= HELD:
            self._let_go(self._held.popleft())
        self._held.append(_Held(row, quote))

    def _let_go(self, held: _Held) -> None:
        row, quote = held
        if isinstance(row, Call):
            self.call(row._replace(cost=quote.cost(row.usage), priced=quote.priced))
        else:
            saved_cost = quote.cost(row.saved)
            self.served(row._replace(saved_cost=saved_cost, priced=quote.priced))

    # -- sums -------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """Since this proxy started, without what is held back. A request that was turned away
        has no row and is not in it."""
        found = Totals()
        for calls in self.calls.values():
            complete = sum(n for end, n in calls.ends.items() if end[0] is Ended.COMPLETE)
            found += Totals(
                calls=calls.count,
                incomplete=calls.count - complete,
                usage=calls.tokens.usage,
                cost=calls.cost,
                unpriced=calls.unpriced,
            )
        for (_, _, dedup), requests in self.requests.items():
            count = requests.count
            found += Totals(
                requests=count,
                led=count if dedup == LEADER else 0,
                joined=count if dedup == JOINED else 0,
                replayed=count if dedup == REPLAYED else 0,
                bypassed=count if dedup.startswith(BYPASS) else 0,
                gone=requests.gone,
                saved=requests.saved.usage,
                saved_cost=requests.saved_cost,
                saved_unpriced=requests.saved_unpriced,
            )
        return found
