from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET = "canary-7f3a"

FORGET = """
import os, subprocess, sys
from pathlib import Path
from fleet.process.kernel import forget
def shown(): return Path("/proc/self/environ").read_bytes()
assert b"canary-7f3a" in shown()
assert forget(["A_KEY", "B_KEY", "NOT_SET", "A"])
assert b"canary-7f3a" not in shown(), shown()
assert b"KEPT=stays" in shown()
assert b"A_KEY_TOO=stays" in shown()
assert "A_KEY" not in os.environ and os.environ["KEPT"] == "stays"
child = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
assert "A_KEY=" not in child and "B_KEY=" not in child and "KEPT=stays" in child
"""

HIDE = """
import ctypes, os, subprocess, sys
from fleet.process.identity import start_time
from fleet.process.kernel import hide
PR_GET_DUMPABLE = 3
libc = ctypes.CDLL(None)
assert libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1
assert hide()
assert libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
assert os.stat("/proc/self/environ").st_uid == 0  # root's, whoever we are
assert start_time(os.getpid())
again = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
child = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, check=True)
assert child.stdout.strip() == "1"  # what we start can be looked at, and swept
"""


def run(code: str, **env: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_forgotten_is_gone_from_proc_too() -> None:
    run(FORGET, A_KEY=SECRET, B_KEY=f"x{SECRET}", KEPT="stays", A_KEY_TOO="stays")


def test_a_hidden_process_is_not_dumpable_but_its_children_are() -> None:
    run(HIDE)


GIVE_BACK = """
from pathlib import Path
from fleet.process.kernel import give_back_memory
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
many = [bytes(3000) for _ in range(20_000)]
few = many[::50]  # which keep the heap from shrinking by itself
del many
before = resident()
assert give_back_memory()
assert resident() < before - 30_000_000, (before, resident())
"""


def test_what_is_free_between_what_is_used_is_given_back() -> None:
    run(GIVE_BACK)
