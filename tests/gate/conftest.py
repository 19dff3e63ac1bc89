"""One run of pytest over a checkout made of the files of a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fleet.core.report import CheckRun
from fleet.gate.checks import Tools, parse
from fleet.gate.runner import run_checks

TOOLS = Tools(python=Path(sys.executable), ruff=None, path=os.environ["PATH"])
PLAIN = "-p no:hypothesispytest"  # its import takes longer than all the rest


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., CheckRun]:
    """One run over a checkout with these files."""

    def run_once(
        files: dict[str, str | bytes],
        arguments: str = "",
        *,
        tools: Tools = TOOLS,
        wall_s: float = 60.0,
        only: Sequence[str] = (),
    ) -> CheckRun:
        count = len(list(tmp_path.glob("checkout*")))
        checkout = tmp_path / f"checkout{count}"
        checkout.mkdir()
        for name, text in files.items():
            path = checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        before = sorted(checkout.rglob("*"))
        (one,) = run_checks(
            (parse(f"pytest {PLAIN} {arguments}"),),
            tools,
            checkout,
            tmp_path / f"scratch{count}",
            mark=f"test-{os.getpid()}-{tmp_path.name}",
            wall_s=wall_s,
            should_stop=lambda: None,
            only_tests=only,
        )
        assert sorted(checkout.rglob("*")) == before  # it leaves nothing in the checkout
        return one

    return run_once
