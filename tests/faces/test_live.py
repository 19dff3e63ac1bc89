from __future__ import annotations

import os
import subprocess
import sys

# A screen whose output has nobody at the other end any more.
TELLS = """
import sys
from fleet.core.event import Event, Kind
from fleet.core.state import Counts
from fleet.faces.live import screen
sys.stdin.readline()
nothing = Counts(by_state=()), []
with screen(as_json=False, terminal=sys.argv[1] == "terminal", snapshot=lambda: nothing) as seen:
    for number in range(3):
        seen.tell(Event(kind=Kind.RUN_STARTED, at=0.0, number=1.0))
print("and a summary")
sys.stderr.write("went on")
"""


def goes_on(kind: str, output: int, close: int) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, "-c", TELLS, kind],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(output)
        os.close(close)
        _, said = child.communicate("go\n", timeout=60)
    return child.returncode, said


def test_a_reader_that_goes_away_ends_nothing() -> None:
    there, here = os.pipe()
    assert goes_on("lines", here, there) == (0, "went on")


def test_a_terminal_that_is_closed_ends_nothing() -> None:
    master, slave = os.openpty()
    assert goes_on("terminal", slave, master) == (0, "went on")
