"""Trying an agent out: its real program in a real run, on a scratch repository and a script."""

from __future__ import annotations

from fleet.trial.findings import Finding, Part, Verdict
from fleet.trial.trial import Trial

__all__ = ["Finding", "Part", "Trial", "Verdict"]
