"""Agents that go round in circles, as far as it can be seen from what they are answered.

Two signs: the same tool call again and again with nothing else between, and tokens used at a pace
that no work has. That an agent changes nothing in its workspace is seen by its worker.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

REMEMBERED = 4096  # conversations
PACE_S = 180.0  # over which the pace is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """0 is without end."""

    same_call: int = 10  # in a row
    tokens_per_minute: int = 1_000_000  # without cache reads


@dataclass(slots=True)
class _Attempt:
    calls: bytes = b""  # the digest of the last answer's tool calls
    times: int = 0
    used: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0


class Loops:
    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._attempts: OrderedDict[tuple[str, str], _Attempt] = OrderedDict()

    def answered(self, attempt: str, session: str, *, calls: bytes, tokens: int, now: float) -> str:
        """An answer was had. `calls`: a digest of its tool calls, b"" when it has none. Why the
        attempt should be ended, or ""."""
        one = self._attempts.get((attempt, session))
        if one is None:
            one = self._attempts[attempt, session] = _Attempt()
            if len(self._attempts) > REMEMBERED:
                self._attempts.popitem(last=False)
        else:
            self._attempts.move_to_end((attempt, session))
        one.times = one.times + 1 if calls and calls == one.calls else 1
        one.calls = calls
        one.used.append((now, tokens))
        one.total += tokens
        while one.used[0][0] < now - PACE_S:
            one.total -= one.used.popleft()[1]
        return self._why(one)

    def _why(self, one: _Attempt) -> str:
        most, pace = self.patience.same_call, self.patience.tokens_per_minute
        if most and one.times >= most and one.calls:
            return f"it made the same tool call {one.times} times in a row"
        if pace and one.total > pace * PACE_S / 60:
            per_minute = round(one.total * 60 / PACE_S)
            return f"it used {per_minute:,} tokens a minute for {PACE_S / 60:g} minutes"
        return ""
