from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fleet.gate.checks import Check, Tools, parse
from fleet.gate.runner import run_checks

RUFF = Path(sys.executable).with_name("ruff")
TOOLS = Tools(python=Path(sys.executable), ruff=RUFF, path="/usr/bin:/bin")


def checks(*commands: str) -> tuple[Check, ...]:
    return tuple(parse(command) for command in commands)


def test_runs_come_in_the_order_of_the_checks_though_ruff_goes_first(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "bad.py").write_text("import os\n")
    runs = run_checks(
        checks("rm bad.py", "ruff check", "true"),
        TOOLS,
        checkout,
        tmp_path / "scratch",
        mark=f"test-{os.getpid()}",
        wall_s=30,
        should_stop=lambda: None,
    )
    assert [run.check for run in runs] == ["rm bad.py", "ruff check", "true"]
    assert [run.passed for run in runs] == [True, False, True]


def test_a_check_sees_an_allow_list_and_private_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    (run,) = run_checks(
        checks("sh -c 'env; touch $HOME/a $TMPDIR/b; exit 1'"),
        TOOLS,
        tmp_path,
        tmp_path / "scratch",
        mark=f"test-{os.getpid()}",
        wall_s=30,
        should_stop=lambda: None,
    )
    said = run.findings[0].message
    assert "SOME_TOKEN" not in said
    assert "LC_ALL=C.UTF-8" in said
    assert (tmp_path / "scratch" / "0" / "home" / "a").exists()
    assert (tmp_path / "scratch" / "0" / "tmp" / "b").exists()


def test_after_a_stop_nothing_more_is_run(tmp_path: Path) -> None:
    runs = run_checks(
        checks("touch a", "touch b"),
        TOOLS,
        tmp_path,
        tmp_path / "scratch",
        mark=f"test-{os.getpid()}",
        wall_s=30,
        should_stop=lambda: "draining" if (tmp_path / "a").exists() else None,
    )
    assert [run.complete for run in runs] == [True, False]
    assert runs[1].note == "stopped: draining"
    assert not (tmp_path / "b").exists()
