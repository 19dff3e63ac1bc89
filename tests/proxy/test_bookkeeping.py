from __future__ import annotations

import random
from collections.abc import Iterable

from fleet.core.traffic import Call, Served, fold
from fleet.core.usage import Usage
from fleet.proxy.bookkeeping import HELD, MODELS, OTHER, Books
from fleet.proxy.pricing import ATTO_PER_MILLION, Price, Quote
from tests.traffic_rows import a_call, a_served, some_rows

PRICE = Price(input=ATTO_PER_MILLION, output=0, cache_read=0, cache_write_5m=0, cache_write_1h=0)
USED = Usage(input=1000)


class Written:
    """A writer that only remembers."""

    def __init__(self) -> None:
        self.rows: list[Call | Served] = []

    def add(self, row: Call | Served) -> None:
        self.rows.append(row)


def told(books: Books, rows: Iterable[Call | Served]) -> None:
    for row in rows:
        if isinstance(row, Call):
            books.call(row)
        else:
            books.served(row)


def test_what_is_counted_is_what_is_written() -> None:
    written = Written()
    books = Books(written)
    rows = some_rows(random.Random(1), 400)
    told(books, rows)
    assert written.rows == rows
    assert books.totals() == fold(rows)


def test_requests_are_counted_by_what_became_of_them() -> None:
    books = Books(Written())
    told(books, [a_served(), a_served(dedup="joined"), a_served(dedup="joined", gone=True)])
    joined = books.requests["messages", "claude-sonnet-4-5", "joined"]
    assert (joined.count, joined.gone, joined.bytes) == (2, 1, 4000)
    assert sum(joined.total.counts) == 2
    assert books.requests["messages", "claude-sonnet-4-5", "leader"].count == 1


def test_calls_are_counted_by_how_they_ended() -> None:
    books = Books(Written())
    told(books, [a_call(1), a_call(2), a_call(3, status=0, fault="connect", first_byte_s=0.0)])
    calls = books.calls["anthropic", "claude-sonnet-4-5"]
    assert sorted(calls.ends.values()) == [1, 2]
    assert sum(calls.total.counts) == 3
    assert sum(calls.first_byte.counts) == 2


def test_invented_models_are_counted_together_and_written_apart() -> None:
    written = Written()
    books = Books(written)
    told(books, (a_served(model=f"m{number}") for number in range(MODELS + 50)))
    told(books, (a_call(number, model=f"m{number}") for number in range(MODELS + 50)))
    assert len(books.requests) == len(books.calls) == MODELS + 1
    assert books.requests["messages", OTHER, "leader"].count == 50
    assert len({row.model for row in written.rows}) == MODELS + 50


def test_a_row_waits_for_its_price() -> None:
    written, quote = Written(), Quote(ready=False)
    books = Books(written)
    books.call(a_call(1, usage=USED, cost=0, priced=False), quote)
    books.served(a_served(dedup="leader", call=1), quote)  # saves nothing: it need not wait
    books.served(a_served(dedup="joined", call=1, saved=USED, priced=False), quote)
    books.tick()
    assert [type(row) for row in written.rows] == [Served]
    quote.price, quote.ready = PRICE, True
    books.tick()
    assert written.rows[1:] == [
        a_call(1, usage=USED, cost=1_000_000, priced=True),
        a_served(dedup="joined", call=1, saved=USED, saved_cost=1_000_000, priced=True),
    ]
    assert books.totals() == fold(written.rows)


def test_the_oldest_goes_unpriced_where_too_many_wait() -> None:
    written, quote = Written(), Quote(ready=False)
    books = Books(written)
    for number in range(HELD):
        books.call(a_call(number, cost=0, priced=False), quote)
    books.tick()
    assert written.rows == []
    books.call(a_call(HELD, cost=0, priced=False), quote)
    assert written.rows == [a_call(0, cost=0, priced=False)]
    assert books.totals().unpriced == 1
    quote.price, quote.ready = PRICE, True
    books.tick()
    assert len(written.rows) == HELD + 1
    assert books.totals().unpriced == 1


def test_no_row_is_held_back_in_the_end() -> None:
    written = Written()
    books = Books(written)
    books.call(a_call(1, cost=0, priced=False), Quote(ready=False))
    books.close()
    books.close()
    assert written.rows == [a_call(1, cost=0, priced=False)]


def test_a_price_that_is_known_to_be_unknown_is_not_waited_for() -> None:
    written = Written()
    books = Books(written)
    books.call(a_call(1, cost=0, priced=False), Quote(ready=True))
    assert len(written.rows) == 1


def test_who_is_turned_away_is_counted_and_not_written() -> None:
    written = Written()
    books = Books(written)
    for status in (401, 404, 401):
        books.turned_away(status)
    assert books.away == {401: 2, 404: 1}
    assert written.rows == []
