"""The second rung: the kernel's Landlock, by which a program gives up rights for good.

Files and folders stay where they are; what is not named can neither be read nor written, and TCP
reaches the proxy's port only. Not kept away, since Landlock knows no rule for them: UDP, and
sockets that are files where they can be seen (landlock(7)). Others' processes cannot be signalled
from ABI 6 on. Of /proc a program sees the machine and itself: the kernel's own rule for ptrace does
not keep it from the environment of others (Linux 6.18), where keys may be.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

from fleet.process.sandbox import system
from fleet.process.sandbox.view import View

CREATE_RULESET, VERSION = 444, 1
NETWORK_ABI = 4


def abi() -> int:
    """The version this kernel speaks; 0 where it has none, or keeps it from us."""
    try:
        return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, VERSION)))
    except (OSError, AttributeError):
        return 0


def rules(view: View, installed: Iterable[Path]) -> dict[str, object]:
    """What `inside.py` is to ask the kernel for: plain values, as they go through JSON."""
    read = [*system.folders(), *installed, Path("/sys"), *_machine()]
    write = [Path("/dev", name) for name in system.DEVICES]
    for bind in view.all:
        (write if bind.writable else read).append(bind.host)
    if view.network:
        read.append(system.RESOLVER)
    ports = None if view.network else [view.forward.port] if view.forward else []
    return {"read": [str(p) for p in read], "write": [str(p) for p in write], "connect": ports}


def _machine() -> list[Path]:
    """What /proc says of the machine, and nothing of its processes."""
    entries = Path("/proc").iterdir()
    return [path for path in entries if not path.name.isdigit() and not path.is_symlink()]
