from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

AGENTS = Path(__file__).parents[2] / "agents"


@pytest.mark.parametrize("name", ["command", "echo", "mini"])
def test_a_shipped_profile_starts_a_program_that_is_shipped_too(name: str) -> None:
    profile = tomllib.loads((AGENTS / f"{name}.toml").read_text(encoding="utf-8"))
    python, program, *_ = profile["command"]
    assert python == "{python}"
    assert Path(program.replace("{agents}", str(AGENTS))) == AGENTS / f"{name}.py"
    assert (AGENTS / f"{name}.py").is_file()
    assert profile["prompt"] == "stdin"
