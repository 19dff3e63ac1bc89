"""A scripted model: a TOML file that answers in every wire format, offline and always alike."""

from __future__ import annotations

from fleet.proxy.script.rules import Script
from fleet.proxy.script.tables import load, parse
from fleet.proxy.script.upstream import ScriptUpstream

__all__ = ["Script", "ScriptUpstream", "load", "parse"]
