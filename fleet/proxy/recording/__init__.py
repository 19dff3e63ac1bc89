"""Exchanges with upstreams, kept in a folder and answered from it: a run that can be repeated."""

from __future__ import annotations

from fleet.proxy.recording.recorder import Recorder
from fleet.proxy.recording.replayer import Replayer

__all__ = ["Recorder", "Replayer"]
