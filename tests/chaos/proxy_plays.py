"""What can go wrong with a provider, drawn by chance for every call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.chaos.proxy_answers import Form
from tests.chaos.proxy_upstream import Call, Cut, Phase

PAUSE_S = 0.03  # of a slow answer between two pieces, at most
GAVE_UP = (
    b'event: error\ndata: {"type":"error","error":'
    b'{"type":"overloaded_error","message":"Overloaded"}}\n\n'
)
REFUSALS = (429, 500, 529)


class Plays:
    """A `Play` for an upstream; counts what it did in `seen`."""

    def __init__(self, rng: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        self._rng = rng
        self._all: dict[Callable[[Call], Awaitable[None]], int] = {
            self._answers: 56,
            self._answers_slowly: 14,
            self._refuses: 10,
            self._cuts: 8,
            self._stalls: 1,
            self._is_no_http: 2,
            self._is_no_json: 3,
            self._is_too_short: 2,
            self._is_too_long: 2,
            self._has_a_bad_chunk: 1,
            self._gives_up_within: 1,
        }

    async def __call__(self, call: Call) -> None:
        (play,) = self._rng.choices(list(self._all), list(self._all.values()))
        self.seen[play.__name__.strip("_").replace("_", " ")] += 1
        await play(call)

    @property
    def refused(self) -> Counter[int]:
        return Counter({status: self.seen[str(status)] for status in REFUSALS})

    def restate(self, refused: Counter[int]) -> None:
        """What counts of what was before."""
        for status in REFUSALS:
            self.seen[str(status)] = refused[status]

    def _phase(self) -> Phase:
        return self._rng.choice(tuple(Phase))

    async def _answers(self, call: Call) -> None:
        await call.end()

    async def _answers_slowly(self, call: Call) -> None:
        while await call.step():
            await asyncio.sleep(self._rng.random() * PAUSE_S)
        await call.end()

    async def _refuses(self, call: Call) -> None:
        """Rarely for too much: all calls wait as long as the provider says."""
        (status,) = self._rng.choices(REFUSALS, (1, 20, 20))
        self._refuse(call, status)

    def _refuse(self, call: Call, status: int) -> None:
        self.seen[str(status)] += 1
        call.refuse(status, *([b"retry-after: 0.05"] if status == 429 else []))

    async def _cuts(self, call: Call) -> None:
        await call.reach(self._phase())
        call.cut(self._rng.choice(tuple(Cut)))

    async def _stalls(self, call: Call) -> None:
        await call.reach(self._phase())
        await call.gone()
        call.cut(Cut.CLOSE)

    # -- garbage ----------------------------------------------------------------------------

    async def _is_no_http(self, call: Call) -> None:
        call.raw(
            self._rng.choice((b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b"\0" * 99))
        )
        call.cut(Cut.CLOSE)

    async def _is_no_json(self, call: Call) -> None:
        form = Form.BAD_STREAM if call.ask.stream else Form.BAD_WHOLE
        await call.reach(Phase.AT_END, form)
        await call.end()

    async def _is_too_short(self, call: Call) -> None:
        body = self._body(call)
        call.raw(self._counted(call, len(body) + 9) + body)
        call.cut(Cut.CLOSE)

    async def _is_too_long(self, call: Call) -> None:
        body = self._body(call)
        call.raw(self._counted(call, len(body)) + body + b"HTTP/1.1 200 OK\r\n")
        call.cut(Cut.CLOSE)

    async def _has_a_bad_chunk(self, call: Call) -> None:
        await call.reach(Phase.HELD_BACK)
        if self._rng.random() < 0.5:
            await call.reach(Phase.COMMITTED)
        call.raw(b"zz\r\n")
        call.cut(Cut.CLOSE)

    async def _gives_up_within(self, call: Call) -> None:
        if not call.ask.stream:
            self._refuse(call, 529)
            return
        await call.reach(self._rng.choice((Phase.AFTER_HEAD, Phase.HELD_BACK, Phase.COMMITTED)))
        call.chunk(GAVE_UP)
        call.raw(b"0\r\n\r\n")

    @staticmethod
    def _body(call: Call) -> bytes:
        made = call.made()
        return b"".join(made.events(usage=call.ask.usage)) if call.ask.stream else made.whole()

    @staticmethod
    def _counted(call: Call, size: int) -> bytes:
        kind = b"text/event-stream" if call.ask.stream else b"application/json"
        return call.head(200, kind, b"content-length: %d" % size)
