"""Who a process is: boot id, pid and start time together. A pid alone is soon somebody else's.

pid_max 32768 wraps in under a minute of forking; the start time (field 22 of
`/proc/<pid>/stat`, in clock ticks since boot) tells the two apart.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

from fleet.core.attempt import Owner


@cache
def boot_id() -> str:
    """Changes with every boot, so that every local owner of an older boot is dead."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which `pid` started; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command name may hold spaces and brackets: count fields after the last one.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def myself(worker: str) -> Owner:
    pid = os.getpid()
    return Owner(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        started=start_time(pid) or 0,
        worker=worker,
    )


def is_alive(*, boot: str, pid: int, started: int) -> bool:
    """Whether exactly this process lives on this machine. For display and sweeping only:
    claims are decided by their locks."""
    return boot == boot_id() and start_time(pid) == started
