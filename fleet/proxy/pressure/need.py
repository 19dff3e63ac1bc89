"""What a call will use, guessed before it is sent, and corrected from what it did use.

Providers that keep prompts in a cache do not count what is read from it, and an agent's next
request is its last one and some more: counting whole prompts would use a tenth of what may be used.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from fleet.core.usage import Usage

BYTES_A_TOKEN = 4  # of a request nobody has sent before
FIRST_OUTPUT = 1024  # tokens, before an agent has had its first answer
REMEMBERED = 8192  # conversations


class Need(NamedTuple):
    """Tokens."""

    input: float  # without what the prompt cache will have
    output: float


NOTHING = Need(0.0, 0.0)


class _Last(NamedTuple):
    size: int  # bytes of the request
    input: int  # tokens, of every kind
    cached: bool  # the provider keeps this conversation's prompts
    output: float  # a running mean


class Needs:
    """What conversations have used. One is named by who leads it, with which key and model."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], _Last] = OrderedDict()

    def guess(
        self, agent: str, account: str, model: str, *, size: int, most: int, reserves: bool
    ) -> Need:
        """`most`: the output that the request allows, 0 if it does not say; `reserves`: this
        provider counts all of that until the answer has come."""
        last = self._last.get((agent, account, model))
        if last is None or size < last.size // 2:  # another conversation of the same agent
            given, expected = size / BYTES_A_TOKEN, float(FIRST_OUTPUT)
        else:
            grown = max(0, size - last.size) / BYTES_A_TOKEN
            given = grown if last.cached else last.input + grown
            expected = 2 * last.output
        output = float(most) if reserves and most else expected
        return Need(given, min(output, float(most)) if most else output)

    def used(self, agent: str, account: str, model: str, *, size: int, usage: Usage) -> None:
        key = agent, account, model
        last = self._last.pop(key, None)
        mean = usage.output if last is None else 0.7 * last.output + 0.3 * usage.output
        cached = usage.total_input - usage.input > 0
        self._last[key] = _Last(size, usage.total_input, cached, max(64.0, mean))
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)


def counted(usage: Usage) -> Need:
    """What providers count: cache reads are free."""
    return Need(float(usage.total_input - usage.cache_read), float(usage.output))
