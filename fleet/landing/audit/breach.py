"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One way in which what is there breaks a promise."""

    invariant: str  # "A1"
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"
