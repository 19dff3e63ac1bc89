from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.core.errors import StorageError
from fleet.store.claims import hold, is_held, try_hold

HOLDS = """
import sys, time
from pathlib import Path
from fleet.store.claims import try_hold
held = try_hold(Path(sys.argv[1]))
print("held" if held else "busy", flush=True)
time.sleep(60)
"""


def a_holder(path: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_a_lock_held_by_another_process_is_busy_until_that_process_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.lock"
    with a_holder(path) as child:
        assert try_hold(path) is None
        assert is_held(path)
        child.send_signal(signal.SIGKILL)
        child.wait()
        held = try_hold(path)
        assert held is not None
        held.release()


def test_a_stopped_holder_keeps_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    with a_holder(path) as child:
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        assert try_hold(path) is None
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_the_lock_file_is_never_unlinked_or_emptied(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    path.write_bytes(b"kept")
    inode = path.stat().st_ino
    for _ in range(3):
        held = try_hold(path)
        assert held is not None
        held.release()
    assert path.stat().st_ino == inode
    assert path.read_bytes() == b"kept"


def test_two_locks_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    held = try_hold(path)
    assert held is not None
    assert try_hold(path) is None
    held.release()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    held = try_hold(path)
    assert held is not None
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        held.release()
        assert not is_held(path)
        child.kill()


def test_asking_does_not_take_the_lock_from_somebody_who_waits_an_instant(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    asker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from fleet.store.claims import is_held\n"
            "print('up', flush=True)\nwhile True: is_held(Path(sys.argv[1]))",
            str(path),
        ],
        stdout=subprocess.PIPE,
        cwd=Path.cwd(),
    )
    with asker:
        assert asker.stdout is not None
        asker.stdout.readline()
        for _ in range(50):
            held = hold(path, timeout_s=0.5)
            assert held is not None
            held.release()
        os.kill(asker.pid, signal.SIGKILL)


def test_a_link_in_place_of_a_lock_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / "one.lock").symlink_to(target)
    with pytest.raises(StorageError, match="cannot be locked"):
        try_hold(tmp_path / "one.lock")
