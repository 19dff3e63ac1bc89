"""What no log may hold: keys, tokens, and bytes that act on whoever reads it. Pure.

A token of an attempt has no shape of its own but its length and that small and capital letters are
mixed; hashes and object ids have small ones only, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

REMOVED = "[removed]"
SHORTEST = 8  # a shorter value would be found in innocent text
_SHAPES = re.compile(
    r"""
      \b(?:sk|rk|pk)-[A-Za-z0-9_\-]{16,}                    # OpenAI, Anthropic and their kind
    | \bAIza[A-Za-z0-9_\-]{30,}                             # Google
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,}   # GitHub
    | \bxox[abprs]-[A-Za-z0-9\-]{10,}                       # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                         # AWS
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*   # JWT
    | (?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/\-]{12,}=*
    | (?<=/a/)[A-Za-z0-9_\-]{16,}                           # in the address of a proxy
    | (?<=:)[^\s:/@]{4,}(?=@[\w.\-]+)                       # a password within a URL
    | (?i:(?<=api_key=)|(?<=apikey=)|(?<=token=)|(?<=[?&]key=))[^\s&"']{4,}
    | (?<![A-Za-z0-9_\-/.])(?=[A-Za-z0-9_\-]*[A-Z])(?=[A-Za-z0-9_\-]*[a-z])
      [A-Za-z0-9_\-]{43}(?![A-Za-z0-9_\-/.])   # a token of an attempt
    """,
    re.VERBOSE,
)
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def redactor(values: Iterable[str]) -> Callable[[str], str]:
    """Takes out these values and all that looks like a secret."""
    known = sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)

    def redact(text: str) -> str:
        for value in known:
            text = text.replace(value, REMOVED)
        return _SHAPES.sub(REMOVED, text)

    return redact


def harmless(text: str) -> str:
    """Without escapes, and in one line unless its lines begin with a blank: a message cannot pass
    for two, nor for anything else."""
    return _ACTS.sub(_written, text).replace("\n", "\n    ")


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
