"""One run, start to finish: children kept alive, orders obeyed, events told, in one task group."""

from __future__ import annotations

from fleet.coordinator.children import Tape
from fleet.coordinator.run import Coordinator, Summary, take_lock

__all__ = ["Coordinator", "Summary", "Tape", "take_lock"]
