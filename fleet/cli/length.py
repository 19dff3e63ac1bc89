"""Lengths of time on a command line."""

from __future__ import annotations

import re

from fleet.core.errors import UsageError

_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def length_s(text: str) -> float:
    """Of `--since`."""
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise UsageError(f'--since {text}: write a length of time such as "90s", "30m" or "1h"')
    return float(found[1]) * _UNIT_S[found[2]]
