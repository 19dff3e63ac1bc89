from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.test_proxy import fleet, project, write
from tests.traffic_rows import a_call, a_served

__all__ = ["project"]
DOLLAR = 1_000_000_000

TASKS = """
[[tasks]]
id = "one"
prompt = "Do one."
status = "completed"

[[tasks]]
id = "two"
prompt = "Do two."
"""


@pytest.fixture
def spent(project: Path) -> Path:
    """Two tasks, one of them landed; a day ago somebody spent something by hand."""
    (project / "tasks" / "a.toml").write_text(TASKS)
    (project / "fleet.toml").write_text('[fleet]\nagent = "mini"\n[budget]\nday_usd = 5\n')
    now = time.time()
    write(
        project,
        a_call(1, at=now - 100_000, task="", agent="by-hand", cost=7 * DOLLAR),
        a_call(2, at=now - 3, task="one", agent="claude", cost=DOLLAR),
        a_call(3, at=now - 2, task="one", epoch=2, agent="codex", model="gpt-5", cost=DOLLAR // 2),
        a_call(4, at=now - 1, task="two", agent="claude", cost=2 * DOLLAR),
        a_served(at=now, task="two", dedup="joined", saved_cost=DOLLAR // 4),
    )
    return project


def test_what_was_spent_by_task_agent_and_model(spent: Path) -> None:
    done = fleet(spent, "cost")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "spent $10.50" in lines
    assert "today (UTC) $3.50 of $5.00, 70%" in lines or time.gmtime()[3] == 0
    assert "merged tasks 1, $1.50 each" in lines  # with the attempt that failed
    assert "for the others $9.00" in lines
    assert "saved by sharing $0.250, 1 answers" in lines
    assert "prompt caches 75.0% of all input was read from them" in lines
    assert "$1.50 $0 2 75% one [merged]" in lines
    assert "$2.00 $0.250 1 75% two [pending]" in lines
    assert "$7.00 $0 1 75% (by hand)" in lines
    assert "$0.500 $0 1 75% codex" in lines
    assert "$0.500 $0 1 75% gpt-5" in lines


def test_programs_get_whole_nano_dollars(spent: Path) -> None:
    found = json.loads(fleet(spent, "cost", "--json", "--since", "1h").stdout)
    assert found["cost_nano_usd"] == 3_500_000_000
    assert found["cost_per_merged_task_nano_usd"] == 1_500_000_000
    assert found["budgets"]["day"]["limit_nano_usd"] == 5_000_000_000
    assert found["by_agent"]["claude"]["cost_nano_usd"] == 3_000_000_000
    assert found["saved_nano_usd"] == 250_000_000


def test_where_nothing_was_spent_it_says_so_and_creates_nothing(project: Path) -> None:
    done = fleet(project, "cost")
    assert done.returncode == 0, done.stderr
    assert "spent             $0" in done.stdout
    assert not (project / ".git" / "fleet").exists()


def test_a_length_of_time_that_is_none_is_a_usage_error(project: Path) -> None:
    done = fleet(project, "cost", "--since", "yesterday")
    assert done.returncode == 2
    assert "--since yesterday" in done.stderr
