from __future__ import annotations

import random

from prometheus_client.parser import text_string_to_metric_families

from fleet.core.traffic import Call, Ended, Served, fold
from fleet.core.usage import Usage
from fleet.proxy.bookkeeping import FIELDS, Books
from fleet.proxy.metrics import CONTENT_TYPE, Gauge, Metrics
from fleet.proxy.stage import BOUNDS_S, Priority, Room
from tests.traffic_rows import a_call, a_served, some_rows

Samples = dict[str, list[tuple[dict[str, str], float]]]


class Nowhere:
    def add(self, row: Call | Served) -> None:
        pass


def read(metrics: Metrics) -> Samples:
    """As Prometheus would."""
    found: Samples = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        assert family.name.startswith("fleet_proxy_")
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for found, value in samples.get(f"fleet_proxy_{name}", [])
        if labels.items() <= found.items()
    )


def books_of(rows: list[Call | Served]) -> Books:
    books = Books(Nowhere())
    for row in rows:
        if isinstance(row, Call):
            books.call(row)
        else:
            books.served(row)
    return books


def test_the_sums_are_those_of_the_rows() -> None:
    rows = some_rows(random.Random(1), 400)
    found, sums = read(Metrics(books_of(rows), ())), fold(rows)
    assert total(found, "requests_total") == sums.requests
    assert total(found, "requests_total", dedup="joined") == sums.joined
    assert total(found, "requests_gone_total") == sums.gone
    assert total(found, "calls_total") == sums.calls
    assert total(found, "calls_total", ended=Ended.COMPLETE) == sums.calls - sums.incomplete
    assert round(total(found, "cost_dollars_total") * 1e9) == sums.cost
    assert round(total(found, "saved_dollars_total") * 1e9) == sums.saved_cost
    assert total(found, "unpriced_calls_total") == sums.unpriced
    for kind in FIELDS[:5]:
        assert total(found, "tokens_total", kind=kind) == getattr(sums.usage, kind)
        assert total(found, "saved_tokens_total", kind=kind) == getattr(sums.saved, kind)
    assert total(found, "reasoning_tokens_total") == sums.usage.reasoning
    assert total(found, "request_seconds_count") == sums.requests
    assert total(found, "call_seconds_count") == sums.calls


def test_no_kind_of_token_is_counted_twice() -> None:
    used = Usage(input=1, cache_read=2, cache_write_5m=4, cache_write_1h=8, output=16, reasoning=9)
    found = read(Metrics(books_of([a_call(usage=used)]), ()))
    assert total(found, "tokens_total") == 31


def test_a_histogram_adds_up_and_joins_models() -> None:
    rows: list[Call | Served] = [
        a_call(n, model=f"m{n % 2}", total_s=seconds)
        for n, seconds in enumerate((0.0625, 0.0625, 7, 999))
    ]
    found = read(Metrics(books_of(rows), ()))
    buckets = {labels["le"]: value for labels, value in found["fleet_proxy_call_seconds_bucket"]}
    assert len(buckets) == len(BOUNDS_S) + 1
    assert buckets["0.02"] == 0
    assert buckets["0.1"] == buckets["5.0"] == 2
    assert buckets["10.0"] == buckets["300.0"] == 3
    assert buckets["+Inf"] == 4
    assert found["fleet_proxy_call_seconds_sum"] == [({"upstream": "anthropic"}, 1006.125)]


def test_rooms_are_shown_as_they_are() -> None:
    room = Room("inference", 2)
    for now in (0.0, 1.0):
        assert room.enter(Priority.NORMAL, now, lambda: None)
    assert not room.enter(Priority.NORMAL, 2.0, lambda: None)
    room.leave(0.0, 3.0)
    room.leave(1.0, 4.0)
    found = read(Metrics(Books(Nowhere()), (room, Room("stream", 5))))
    for name, value in (
        ("capacity", 2),
        ("occupancy", 1),
        ("high_water", 2),
        ("waiting", 0),
        ("entered_total", 3),
        ("shed_total", 0),
        ("wait_seconds_count", 1),
        ("wait_seconds_sum", 1.0),
        ("work_seconds_count", 2),
        ("work_seconds_sum", 6.0),
    ):
        assert total(found, f"room_{name}", room="inference") == value, name
    assert total(found, "room_capacity", room="stream") == 5


def test_gauges_are_read_when_asked() -> None:
    live = 3.0
    metrics = Metrics(Books(Nowhere()), (), [Gauge("flights", "Live.", lambda: live)])
    assert total(read(metrics), "flights") == 3
    live = 4.0
    assert total(read(metrics), "flights") == 4


def test_the_process_is_measured() -> None:
    found = read(Metrics(Books(Nowhere()), ()))
    assert 10e6 < total(found, "resident_bytes") < 10e9
    assert 3 < total(found, "open_files") < 10e3
    assert total(found, "cpu_seconds_total") > 0


def test_names_that_agents_invent_cannot_break_the_text_or_flood_it() -> None:
    nasty = 'a"b\\c\nd{}é'
    rows: list[Call | Served] = [a_served(model=nasty), a_call(model=nasty)]
    rows += [a_served(model=f"m{number}") for number in range(1000)]
    found = read(Metrics(books_of(rows), ()))
    assert total(found, "requests_total", model=nasty) == 1
    assert total(found, "requests_total", model="other") == 801
    assert len(found["fleet_proxy_requests_total"]) == 201


def test_who_is_turned_away_is_shown_by_status() -> None:
    books = Books(Nowhere())
    books.turned_away(401)
    assert total(read(Metrics(books, ())), "requests_turned_away_total", status="401") == 1


def test_the_content_type_is_that_of_the_text_format() -> None:
    assert CONTENT_TYPE.startswith(b"text/plain; version=0.0.4")
