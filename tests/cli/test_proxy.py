from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.core.traffic import Call, Served, Totals, fold
from fleet.core.usage import Usage
from fleet.faces.traffic import dollars, summary_lines
from fleet.store.calls import CallsWriter
from tests.traffic_rows import a_call, a_served

USED = Usage(input=1000, cache_read=3000, output=250, reasoning=50)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=path, check=True)
    (path / "tasks").mkdir()
    return path


def fleet(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *words],
        cwd=path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(path: Path, *words: str) -> str:
    done = fleet(path, "proxy", "stats", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, *rows: Call | Served) -> None:
    state = path / ".git" / "fleet"
    state.mkdir(mode=0o700, exist_ok=True)
    writer = CallsWriter(state / "calls.db")
    for row in rows:
        writer.add(row)
    writer.close()


def traffic() -> tuple[Call | Served, ...]:
    now = time.time()
    return (
        a_call(1, at=now - 10, usage=USED, cost=1_234_567_890),
        a_call(2, at=now - 7200, task="two", model="local", usage=USED, cost=0, priced=False),
        a_served(at=now - 10),
        a_served(at=now - 9, dedup="joined", saved=USED, saved_cost=1_234_567_890),
        a_served(at=now - 8, dedup="replayed", saved=USED, saved_cost=1_234_567_890, gone=True),
        a_served(at=now - 7200, task="two", model="local", dedup="bypass:store", call=2),
    )


def test_where_no_proxy_ever_ran_it_says_so_and_leaves_nothing(project: Path) -> None:
    out = told(project)
    assert "no proxy runs" in out
    assert "no model traffic yet" in out
    assert json.loads(told(project, "--json"))["requests"] == 0
    assert not (project / ".git" / "fleet").exists()


def test_stats_tell_what_the_rows_come_to(project: Path) -> None:
    write(project, *traffic())
    out = told(project)
    lines = {line[:18].strip(): line[18:].strip() for line in out.splitlines()}
    assert lines["requests"] == "4"
    assert lines["joined one"] == lines["replayed"] == lines["gone too soon"] == "1"
    assert lines["bypassed"] == "1: store 1"
    assert lines["upstream calls"] == "2, 0 of them not complete"
    assert lines["tokens"] == "8,000 in, 500 out"
    assert lines["cache reads"] == "6,000, 75.0% of all input"
    assert lines["cost"] == "$1.23, and 1 of 2 calls without a known price"
    assert lines["saved"] == "8,000 in, 500 out, $2.47"
    rows = [line.split() for line in out.splitlines() if line.endswith(("sonnet-4-5", "local"))]
    assert [" ".join(row) for row in rows] == [
        "1 3 1 1 4,000 3,000 250 $1.23 $2.47 claude-sonnet-4-5",
        "1 1 0 0 4,000 3,000 250 ? $0 local",
    ]


def test_a_task_and_a_time_narrow_it(project: Path) -> None:
    write(project, *traffic())
    everything = json.loads(told(project, "--json"))
    assert (everything["requests"], everything["calls"]) == (4, 2)
    recent = json.loads(told(project, "--json", "--since", "1h"))
    assert (recent["requests"], recent["calls"], recent["bypassed"]) == (3, 1, 0)
    assert recent["cost_nano_usd"] == 1_234_567_890
    other = json.loads(told(project, "--json", "--task", "two"))
    assert (other["requests"], other["unpriced"]) == (1, 1)
    assert other["bypass_reasons"] == {"store": 1}
    assert list(other["by_model"]) == ["local"]
    assert "no model traffic of this kind" in told(project, "--task", "three")


def test_programs_get_the_same_numbers(project: Path) -> None:
    rows = traffic()
    write(project, *rows)
    found, sums = json.loads(told(project, "--json")), fold(rows)
    assert found["cost_nano_usd"] == sums.cost
    assert found["saved_nano_usd"] == sums.saved_cost
    assert found["usage"]["cache_read"] == sums.usage.cache_read
    assert found["cache_hit_share"] == 0.75
    assert found["proxy"] is None
    assert sum(model["requests"] for model in found["by_model"].values()) == 4


def test_a_length_of_time_that_is_none_is_refused(project: Path) -> None:
    done = fleet(project, "proxy", "stats", "--since", "yesterday")
    assert done.returncode == 2
    assert "30m" in done.stderr


@pytest.mark.parametrize("words", [("--record", "a", "--replay", "."), ("--replay", "missing")])
def test_a_tape_that_cannot_be_is_refused(project: Path, words: tuple[str, ...]) -> None:
    done = fleet(project, "proxy", *words)
    assert done.returncode == 2
    assert "--replay" in done.stderr


def test_a_run_is_summed_up_in_two_or_three_lines() -> None:
    assert summary_lines(Totals()) == []
    lines = summary_lines(fold(traffic()[:4]))
    assert lines == [
        "requests 2, upstream calls 2, joined 1, replayed 0",
        "tokens 8,000 in, 500 out, cost $1.23, and 1 of 2 calls without a known price",
        "saved 4,000 in, 250 out, $1.23",
    ]


def test_unknown_money_is_not_shown_as_none() -> None:
    lines = summary_lines(fold([a_call(cost=0, priced=False)]))
    assert "cost unknown: 1 of 1 calls have no known price" in lines[1]
    assert "cost $0" in summary_lines(fold([a_call(cost=0)]))[1]


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (1_234_567, "$0.00123"),
        (12_345_678, "$0.0123"),
        (123_456_789, "$0.123"),
        (999_999_999, "$1.00"),
        (1_500_000_000, "$1.50"),
        (1_234_567_890_123, "$1,234.57"),
    ],
)
def test_money_has_the_digits_that_mean_something(nano: int, shown: str) -> None:
    assert dollars(nano) == shown
