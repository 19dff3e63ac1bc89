"""The proxy's counters in Prometheus' words, made up when somebody asks.

Nothing is counted here: the books, the rooms and a few gauges are read as they are. How many
series there may be is bounded by the books, whose names of models are. `render` takes about 12 µs
a series, and may be called from another thread than the one that counts.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fleet.core.traffic import NANO
from fleet.proxy.bookkeeping import FIELDS, Books, Tokens
from fleet.proxy.stage import BOUNDS_S, Room, Times

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
PREFIX = "fleet_proxy_"
INPUT_AND_OUTPUT = tuple(name for name in FIELDS if name != "reasoning")  # no part counted twice

Labels = tuple[str, ...]
Series = Iterable[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that is worth knowing now."""

    name: str  # without the prefix
    about: str
    read: Callable[[], float]


class Metrics(Collector):
    def __init__(self, books: Books, rooms: Sequence[Room], gauges: Sequence[Gauge] = ()) -> None:
        self._books = books
        self._rooms = tuple(rooms)
        self._gauges = tuple(gauges)

    def render(self) -> bytes:
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        yield from self._of_requests()
        yield from self._of_calls()
        yield from self._of_rooms()
        yield from self._of_the_process()

    def _of_requests(self) -> Iterator[Metric]:
        found = tuple(self._books.requests.items())
        labels = ("endpoint", "model", "dedup")
        yield _counter(
            "requests", "Requests of agents.", labels, ((key, each.count) for key, each in found)
        )
        yield _counter(
            "requests_gone",
            "Requests whose client left before the end of its answer.",
            labels,
            ((key, each.gone) for key, each in found if each.gone),
        )
        yield _counter(
            "requests_turned_away",
            "Requests that got no further than the door.",
            ("status",),
            (((str(status),), count) for status, count in tuple(self._books.away.items())),
        )
        yield _counter(
            "answer_bytes", "Sent to agents.", labels, ((key, each.bytes) for key, each in found)
        )
        yield _histogram(
            "request_seconds",
            "From a whole request to the end of its answer.",
            ("endpoint", "dedup"),
            (((endpoint, dedup), each.total) for (endpoint, _, dedup), each in found),
        )
        shared = [(key, each) for key, each in found if each.saved.usage]
        yield _tokens(
            "saved_tokens",
            "What joined and replayed answers would have used.",
            labels,
            ((key, each.saved) for key, each in shared),
        )
        yield _counter(
            "saved_dollars",
            "What joined and replayed answers would have cost.",
            labels,
            ((key, each.saved_cost / NANO) for key, each in shared),
        )

    def _of_calls(self) -> Iterator[Metric]:
        found = tuple(self._books.calls.items())
        labels = ("upstream", "model")
        yield _counter(
            "calls",
            "Calls to upstreams.",
            (*labels, "ended", "status", "fault"),
            (
                ((*key, ended, str(status), fault), count)
                for key, each in found
                for (ended, status, fault), count in tuple(each.ends.items())
            ),
        )
        yield _tokens(
            "tokens", "Used by answers.", labels, ((key, each.tokens) for key, each in found)
        )
        yield _counter(
            "reasoning_tokens",
            "Of the output, what was thought.",
            labels,
            ((key, each.tokens.reasoning) for key, each in found),
        )
        yield _counter(
            "cost_dollars",
            "Of calls whose price is known.",
            labels,
            ((key, each.cost / NANO) for key, each in found),
        )
        yield _counter(
            "unpriced_calls",
            "Calls that used tokens whose price is not known.",
            labels,
            ((key, each.unpriced) for key, each in found),
        )
        yield _counter(
            "upstream_bytes",
            "To and from upstreams.",
            (*labels, "direction"),
            (
                ((*key, direction), number)
                for key, each in found
                for direction, number in (("in", each.bytes_in), ("out", each.bytes_out))
            ),
        )
        yield _histogram(
            "call_first_byte_seconds",
            "From a call to the head of its answer.",
            ("upstream",),
            ((key[:1], each.first_byte) for key, each in found),
        )
        yield _histogram(
            "call_seconds",
            "From a call to the end of its answer.",
            ("upstream",),
            ((key[:1], each.total) for key, each in found),
        )

    def _of_rooms(self) -> Iterator[Metric]:
        rooms = self._rooms
        for gauge, about in (
            ("capacity", "Places in a room."),
            ("occupancy", "Places taken."),
            ("high_water", "Most places that were ever taken at once."),
            ("waiting", "Requests that wait for a place."),
        ):
            values = [((room.name,), float(getattr(room, gauge))) for room in rooms]
            yield _gauge(f"room_{gauge}", about, ("room",), values)
        for counter, about in (
            ("entered", "Requests that came into a room."),
            ("shed", "Requests that were turned away because there was no place."),
        ):
            values = [((room.name,), float(getattr(room, counter))) for room in rooms]
            yield _counter(f"room_{counter}", about, ("room",), values)
        yield _histogram(
            "room_wait_seconds",
            "For a place, of those who had to wait.",
            ("room",),
            (((room.name,), room.waits) for room in rooms),
        )
        yield _histogram(
            "room_work_seconds",
            "In a room.",
            ("room",),
            (((room.name,), room.work) for room in rooms),
        )

    def _of_the_process(self) -> Iterator[Metric]:
        for gauge in self._gauges:
            yield _gauge(gauge.name, gauge.about, (), [((), gauge.read())])
        resident = [((), float(number)) for number in _resident_bytes()]
        yield _gauge("resident_bytes", "Memory of the proxy.", (), resident)
        files = [((), float(number)) for number in _open_files()]
        yield _gauge("open_files", "Descriptors of the proxy, sockets among them.", (), files)
        yield _counter("cpu_seconds", "Used by the proxy.", (), [((), time.process_time())])


def _counter(name: str, about: str, labels: Labels, series: Series) -> Metric:
    family = CounterMetricFamily(PREFIX + name, about, labels=labels)
    for values, number in series:
        family.add_metric(values, number)
    return family


def _gauge(name: str, about: str, labels: Labels, series: Series) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=labels)
    for values, number in series:
        family.add_metric(values, number)
    return family


def _tokens(
    name: str, about: str, labels: Labels, series: Iterable[tuple[Labels, Tokens]]
) -> Metric:
    return _counter(
        name,
        about,
        (*labels, "kind"),
        (
            ((*values, kind), getattr(tokens, kind))
            for values, tokens in series
            for kind in INPUT_AND_OUTPUT
        ),
    )


def _histogram(
    name: str, about: str, labels: Labels, series: Iterable[tuple[Labels, Times]]
) -> Metric:
    """Those with equal labels are one."""
    family = HistogramMetricFamily(PREFIX + name, about, labels=labels)
    merged: dict[Labels, tuple[list[int], float]] = {}
    for values, times in series:
        counts, total = merged.get(values, ([0] * len(times.counts), 0.0))
        added = [one + two for one, two in zip(counts, times.counts, strict=True)]
        merged[values] = added, total + times.total
    for values, (counts, total) in merged.items():
        buckets = list(zip(_BOUNDS, itertools.accumulate(counts), strict=True))
        family.add_metric(values, buckets=buckets, sum_value=total)
    return family


_BOUNDS = (*(str(bound) for bound in BOUNDS_S), "+Inf")


def _resident_bytes() -> list[int]:
    """One number; none where the system does not tell it in this way."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return []
    return [pages * os.sysconf("SC_PAGE_SIZE")]


def _open_files() -> list[int]:
    """As above. Nobody else may look: our memory is not dumpable."""
    try:
        return [len(os.listdir("/proc/self/fd"))]  # noqa: PTH208 - a path object for each
    except OSError:
        return []
