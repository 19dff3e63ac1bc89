"""The first rung: a world put together by bubblewrap, where only what is named exists.

Its own mounts, processes, network, users and IPC; no capabilities. It dies with whoever started
it, and with it every process in it, daemons included.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from fleet.process.command import run
from fleet.process.sandbox import system
from fleet.process.sandbox.view import GUEST, View

PROBE_S = 10.0
SAYS = "bwrap: "  # when it could not put the world together
APART = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    *("--cap-drop", "ALL"),
)


def find(search: str) -> str | None:
    """Where bubblewrap is, if it works here: some systems forbid what it needs."""
    program = shutil.which("bwrap", path=search)
    if program is None:
        return None
    world = (*APART, "--unshare-net", *_system(), "--proc", "/proc", "--dev", "/dev")
    done = run((program, *world, "/usr/bin/true"), cwd="/", env={}, timeout_s=PROBE_S)
    return program if done.ok else None


def options(
    view: View, installed: Iterable[Path], *, hands_in: Iterable[tuple[Path, Path]] = ()
) -> list[str]:
    """Everything between `bwrap` and the program. The order counts: later mounts cover earlier.
    `hands_in` are files of ours, and where the program finds them."""
    words = [*APART, *(() if view.network else ("--unshare-net",))]
    words += [*_system(), "--ro-bind-try", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev"]
    words += ["--tmpfs", "/run", "--tmpfs", "/var/tmp"]  # noqa: S108 - made there, not used here
    if view.network:
        words += ["--ro-bind-try", str(system.RESOLVER), str(system.RESOLVER)]
    moved = list(view.all)
    # Its temporary folder and its home are what the others may lie beneath.
    for bind in moved[:2]:
        words += ["--bind", str(bind.host), str(bind.inside)]
    for path in installed:
        words += ["--ro-bind-try", str(path), str(path)]
    for bind in moved[2:]:
        how = "--bind" if bind.writable else "--ro-bind-try"
        words += [how, str(bind.host), str(bind.inside)]
    for host, inside in hands_in:
        words += ["--ro-bind", str(host), str(inside)]
    if view.forward is not None:
        words += ["--ro-bind", str(view.forward.folder), str(GUEST / "proxy")]
    return [*words, "--remount-ro", "/", "--chdir", str(view.work.inside)]


def _system() -> Iterator[str]:
    for path in system.folders():
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        else:
            yield from ("--ro-bind", str(path), str(path))
