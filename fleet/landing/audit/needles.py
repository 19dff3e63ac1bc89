"""A secret in the forms a file may hold it in, and where it is in a heap of bytes. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST = 8  # a shorter value would be found in innocent bytes
_TOKEN_LENGTH = 43  # letters, of `store.tokens`
_TOKENS = re.compile(rb"[A-Za-z0-9_-]{%d,4096}" % _TOKEN_LENGTH)
_HEX = re.compile(rb"[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Needles:
    """What is looked for: the forms of each secret by its name, and hashes of tokens by attempt."""

    forms: Mapping[str, tuple[bytes, ...]]
    tokens: Mapping[str, str]  # by hash

    @classmethod
    def of(cls, secrets: Mapping[str, str], tokens: Mapping[str, str]) -> Needles:
        long_enough = {name: value for name, value in secrets.items() if len(value) >= SHORTEST}
        return cls({name: _forms(value) for name, value in long_enough.items()}, tokens)

    def __bool__(self) -> bool:
        return bool(self.forms or self.tokens)

    def names_in(self, data: bytes) -> Iterator[str]:
        """The secrets that are in there."""
        for name, forms in self.forms.items():
            if any(form in data for form in forms):
                yield name

    def bearers_in(self, data: bytes) -> Iterator[str]:
        """The attempts whose tokens are in there, whatever stands right beside them."""
        if self.tokens:
            for found in _TOKENS.finditer(data):
                yield from self._bearers(found[0])

    def _bearers(self, run: bytes) -> Iterator[str]:
        if _HEX.fullmatch(run):
            return  # an object id or a hash
        for start in range(len(run) - _TOKEN_LENGTH + 1):
            piece = run[start : start + _TOKEN_LENGTH]
            bearer = self.tokens.get(hashlib.sha256(piece).hexdigest())
            if bearer is not None:
                yield bearer


def _forms(value: str) -> tuple[bytes, ...]:
    raw = value.encode("utf-8", "surrogateescape")
    texts = {value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1]}
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1]}
    found |= {text.encode("utf-8", "surrogateescape") for text in texts}
    found |= set(_in_base64(raw))
    return tuple(sorted(found, key=len))


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Wherever it begins within three bytes; only the letters that depend on nothing else."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw)
        sure = coded[(0, 2, 3)[before] : len(raw + b"\0" * before) // 3 * 4]
        if len(sure) >= SHORTEST:
            yield sure
            yield sure.translate(bytes.maketrans(b"+/", b"-_"))
