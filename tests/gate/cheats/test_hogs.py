"""Gates that take too much: no verdict, in bounded time, and nobody's fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.attempt import UNCOUNTED, Outcome
from fleet.core.report import Verdict
from fleet.process.bounds import MB, Bounds
from tests.gate.cheats.catalogue import runs
from tests.gate.cheats.stage import Stage

BOUNDS = Bounds(processes=30, memory_bytes=300 * MB, disk_bytes=30 * MB, free_bytes=0)
FORKS = """
import os
import time

while len(os.listdir("/proc")) < 5000:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.01)
"""
HOARDS = "import time\n\nhoard = bytearray(b'x') * 500_000_000\ntime.sleep(60)"
FILLS = """
import os
import tempfile
import time

with tempfile.TemporaryFile() as file:
    pass
with open(os.path.join(tempfile.gettempdir(), "f"), "wb") as file:
    for _ in range(60):
        file.write(os.urandom(1_000_000))
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(FORKS, "30 processes", id="forks"),
        pytest.param(HOARDS, "300 MB of memory", id="hoards", marks=pytest.mark.long),
        pytest.param(FILLS, "30 MB written", id="fills", marks=pytest.mark.long),
    ],
)
def test_a_gate_that_takes_too_much_could_not_run(tmp_path: Path, code: str, words: str) -> None:
    stage = Stage(tmp_path)
    judged = stage.judge(runs(code), bounds=BOUNDS)
    stage.db.close()
    assert judged.report is not None
    assert judged.report.verdict is Verdict.COULD_NOT_RUN
    assert words in judged.report.headline
    assert judged.report.seconds < 60
    assert Outcome.UNPROVEN in UNCOUNTED  # what the worker makes of it
