"""Reading what agents say while they work: one reader a format, the same `Story` from each."""

from __future__ import annotations

from fleet.worker.story.reading import Listener, listener

__all__ = ["Listener", "listener"]
