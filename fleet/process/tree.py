"""Ending everything an attempt has started, wherever it went.

Agents start tools in sessions of their own, daemons and loops that restart what is killed. So a
tree is found by its mark (an environment entry every process inherits), by ancestry, and, in a
subreaper, by the orphans that came to us; it is frozen first, so that nothing can fork away,
then killed, and looked for again until it is gone. What hides from all that is in its control
group, where there are any. Linux only: without `/proc` nothing is found.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from fleet.process import cgroup
from fleet.process.identity import start_time
from fleet.process.kernel import PR_SET_CHILD_SUBREAPER, await_exit, open_pidfd, pause, prctl
from fleet.process.table import Process, Table, entry_of, look

log = logging.getLogger(__name__)

ATTEMPT_MARK = "FLEET_ATTEMPT"  # in the environment of everything an attempt starts
FREEZES = 100  # rounds of stopping a tree that forks, before killing what was stopped
QUIET_LOOKS = 2  # in a row that must find nothing: in the middle of an exec a mark is not readable
DOUBT_S = 0.5  # at most, of looking again because unrelated processes come and go meanwhile
BETWEEN_LOOKS_S = 0.002
DEATHS_AWAITED = 32  # one by one; the others have died meanwhile


def become_subreaper() -> bool:
    """From now on orphans below us become our children. False where there is no such thing."""
    return prctl(PR_SET_CHILD_SUBREAPER, 1)


def marked(mark: str, value: str) -> list[int]:
    """Living processes whose environment at their start held exactly `MARK=value`."""
    return look(entry_of(mark, value)).marked()


def descendants(pid: int) -> list[int]:
    """Living children of `pid`, theirs, and so on."""
    table = look()
    return [below for below in table.below([pid]) if not table.processes[below].zombie]


def kill_tree(
    *,
    mark: str,
    value: str,
    root: int | None = None,
    timeout_s: float = 5.0,
    orphans_since: int | None = None,
) -> int:
    """Kill the marked processes, what is below them and below `root`; how many there were.

    `root` itself dies only if it is marked, and is its starter's to reap. `orphans_since` is for
    a subreaper whose own children stay in its session: children in other sessions, started at
    or after this tick, are orphans of the tree. Never kills the caller.
    """
    hunt = _Hunt(entry=entry_of(mark, value), root=root, orphans_since=orphans_since)
    now = quiet_since = time.monotonic()
    until = now + timeout_s
    quiet = 0
    while now < until:
        buried = hunt.buried
        table = hunt.look()
        prey = hunt.prey(table)
        if prey:
            hunt.kill(hunt.freeze(prey), until)
        now = time.monotonic()
        if prey or hunt.buried > buried:
            quiet, quiet_since = 0, now
            continue
        quiet += 1
        if quiet >= QUIET_LOOKS and (table.settled or now - quiet_since > DOUBT_S):
            return len(hunt.killed) + _kill_hidden(value, hunt)
        pause(BETWEEN_LOOKS_S)
    hidden = _kill_hidden(value, hunt)
    if hunt.prey(hunt.look()):
        log.warning("after %s s there still are processes with %s=%s", timeout_s, mark, value)
    return len(hunt.killed) + hidden


def _kill_hidden(value: str, hunt: _Hunt) -> int:
    """What carries no mark any more, and has left its family, is still in its control group."""
    number = cgroup.end_marked(value)
    if number:
        hunt.look()  # the dead among them may be ours to bury
    return number


def bury_orphans(*, root: int, orphans_since: int) -> None:
    """Reap what came to us and has ended while `root`'s tree lives on. Cheap if there is none."""
    with suppress(ChildProcessError):
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if dead is not None and dead.si_pid != root:
            hunt = _Hunt(entry=None, root=root, orphans_since=orphans_since)
            hunt.look()


@dataclass(slots=True, kw_only=True)
class _Hunt:
    entry: bytes | None
    root: int | None
    orphans_since: int | None
    killed: set[tuple[int, int]] = field(default_factory=set)
    buried: int = 0
    me: int = field(default_factory=os.getpid)
    session: int = field(default_factory=lambda: os.getsid(0))

    def look(self) -> Table:
        return look(self.entry, self._meet)

    def prey(self, table: Table) -> list[Process]:
        """What is alive and belongs to the tree."""
        seeds = set(table.marked()) - {self.me}
        seeds.update(process.pid for process in table.processes.values() if self._orphan(process))
        roots = seeds if self.root is None else seeds | {self.root}
        pids = (seeds | table.below(roots, through=self.me)) - {self.me}
        found = (table.processes[pid] for pid in pids)
        return [process for process in found if not process.zombie]

    def freeze(self, prey: list[Process]) -> list[Process]:
        """Stop it all, until a look shows nothing that is not stopped."""
        frozen: dict[tuple[int, int], Process] = {}
        for _ in range(FREEZES):
            moving = [process for process in prey if process.identity not in frozen]
            if not moving:
                break
            for process in moving:
                _send(process, signal.SIGSTOP)
                frozen[process.identity] = process
            prey = self.prey(self.look())
        return list(frozen.values())

    def kill(self, frozen: Iterable[Process], until: float) -> None:
        dying = [process for process in frozen if _send(process, signal.SIGKILL)]
        self.killed.update(process.identity for process in dying)
        for process in dying[:DEATHS_AWAITED]:
            _await_death(process, until)

    def _meet(self, process: Process) -> None:
        """Stop what is marked on sight; bury the dead of the tree that are our children."""
        if process.marked and process.pid != self.me:
            _send(process, signal.SIGSTOP)
        ours = process.zombie and process.parent == self.me and process.pid != self.root
        if ours and (process.identity in self.killed or self._orphan(process)):
            with suppress(ChildProcessError):
                self.buried += os.waitpid(process.pid, os.WNOHANG)[0] == process.pid

    def _orphan(self, process: Process) -> bool:
        # No process can enter our session from another one, so nothing of ours is taken for it.
        return (
            self.orphans_since is not None
            and process.parent == self.me
            and process.pid != self.root
            and process.session != self.session
            and process.started >= self.orphans_since
        )


def _send(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process, never a later one with its pid. Whether it was there."""
    try:
        pidfd = open_pidfd(process.pid)
    except ProcessLookupError:
        return False
    try:
        # Asked after the descriptor is open: from here on the pid cannot change hands unseen.
        if start_time(process.pid) != process.started:
            return False
        if pidfd is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if pidfd is not None:
            os.close(pidfd)
    return True


def _await_death(process: Process, until: float) -> None:
    try:
        pidfd = open_pidfd(process.pid)
    except ProcessLookupError:
        return
    try:
        if start_time(process.pid) == process.started:
            await_exit(pidfd, min(until - time.monotonic(), 1.0))
    finally:
        if pidfd is not None:
            os.close(pidfd)
