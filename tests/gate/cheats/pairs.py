"""Two changes, each of them good, that are bad together: one takes away what the other uses."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.gate.cheats.stage import Files

_USE = "from units import {name}\n\n\ndef test_{word}():\n    assert {says}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    name: str
    one: Files
    other: Files


def a_pair(rng: random.Random) -> Pair:
    word = "".join(rng.choices("abcdefgh", k=6))
    x, rate = rng.randint(2, 99), rng.randint(4, 99)
    kind, units, name, says = rng.choice(
        (
            ("renamed", f"RATE = 3\n\n\ndef {word}(x):\n    return x * RATE\n", "scaled",
             f"scaled({x}) == {3 * x}"),
            ("wants more", "RATE = 3\n\n\ndef scaled(x, rate):\n    return x * rate\n", "scaled",
             f"scaled({x}) == {3 * x}"),
            ("answers otherwise", "RATE = 3\n\n\ndef scaled(x):\n    return [x * RATE]\n",
             "scaled", f"scaled({x}) + 1 == {3 * x + 1}"),
            ("gone", "def scaled(x):\n    return x * 3\n", "RATE", "RATE == 3"),
            ("another value", f"RATE = {rate}\n\n\ndef scaled(x):\n    return x * RATE\n",
             "scaled", f"scaled({x}) == {3 * x}"),
        )
    )  # fmt: skip
    use = _USE.format(name=name, word=word, says=says)
    return Pair(name=kind, one={"units.py": units}, other={f"tests/test_{word}.py": use})
