"""Which of several a session belongs to: the one with the highest weight for it.

Each pair of session and name has a weight of its own, the same in every process. So a session
stays where it is as long as its name is there (and with it the provider's prompt cache), and when
one of n names goes, only its own sessions move, evenly to all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

_REMEMBERED = 8192  # sessions; one costs about 200 bytes


def ranked(session: bytes, names: Sequence[str]) -> tuple[int, ...]:
    """The indexes of all names, the best first: where to go when the best does not answer."""
    return _ranked(session, tuple(names))


@lru_cache(_REMEMBERED)
def _ranked(session: bytes, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(names)), key=lambda index: _weight(session, names[index])))


def _weight(session: bytes, name: str) -> tuple[bytes, str]:
    """Less is better. The key is a digest itself, so that names may be of any length."""
    key = blake2b(name.encode(), digest_size=16).digest()
    return blake2b(session, digest_size=8, key=key).digest(), name
