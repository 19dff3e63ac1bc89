"""Real coding agents in whole runs: where they are, a repository for them, what the proxy saw.

`scripts/install-agents` puts them into `.agents/`; a test of one that is not there is skipped. The
script says "bash", and each agent's own shell tool is called.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.traffic import Call, Served
from fleet.store.traffic import latest_calls, latest_served, open_calls
from tests.e2e.conftest import Repository, new_repository

BIN = Path(__file__).resolve().parents[2] / ".agents" / "bin"


def needs(program: str) -> list[pytest.MarkDecorator]:
    """For `pytestmark`: the program is installed for tests, or in PATH."""
    there = shutil.which(program, path=f"{BIN}:{os.environ['PATH']}")
    reason = f"{program} is not installed: scripts/install-agents"
    return [pytest.mark.real_cli, pytest.mark.skipif(there is None, reason=reason)]


def a_repository(folder: Path) -> Repository:
    """Whose fleet finds the agents, and may run them as root if we are."""
    made = new_repository(folder)
    env = made.env | {"PATH": f"{BIN}:{made.env['PATH']}"}
    if os.geteuid() == 0:
        env["IS_SANDBOX"] = "1"  # else Claude Code refuses
    return replace(made, env=env)


def wire(repository: Repository) -> tuple[list[Call], list[Served]]:
    """What the proxy saw: calls and requests, newest first."""
    with contextlib.closing(open_calls(repository.path / ".git/fleet/calls.db")) as db:
        return latest_calls(db, 1000), latest_served(db, 1000)
