"""What a model's answer used, in the terms all providers share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer. The four kinds of input are apart: their prices differ."""

    input: int = 0  # neither read from a provider's prompt cache nor written to it
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0  # part of output
    estimated: bool = False  # no terminal usage came: a floor, from what was seen

    @property
    def total_input(self) -> int:
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def __bool__(self) -> bool:
        return bool(self.total_input or self.output)


NOTHING = Usage()
