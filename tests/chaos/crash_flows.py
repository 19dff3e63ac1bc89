"""Six things a fleet does, each from a repository prepared for it; and what must be true then.

A flow runs the worker's and the lander's own code in the process that calls it, between the marks
that `tracer` counts from. Whatever is left of it, `recover` goes on as the next `fleet run` would,
and says which promises are broken.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from fleet import control
from fleet.core.errors import FleetError
from fleet.core.policy import Backoff
from fleet.gate.cleanroom import Caller
from fleet.landing.audit import audit
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.process.identity import myself
from fleet.process.stop import StopFlag
from fleet.process.table import entry_of, look
from fleet.process.tree import ATTEMPT_MARK, become_subreaper
from fleet.repo.branch import Target
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from fleet.store.taskfiles import load
from fleet.wiring import Fleet, open_fleet
from fleet.worker.loop import Post, Worker
from fleet.worker.preflight import take_tasks
from fleet.worker.workspace import sweep

CONFIG = """\
[fleet]
agent = "echo"
retry_delay = "0.01s"
max_attempts = 9

[gate]
commands = ["python3 check.py"]
"""
# No file may hold the word "bad". `.mark-begin` is where the flow of a bad end begins.
CHECK = """\
import os, pathlib, sys
bad = [path.name for path in pathlib.Path(".").rglob("*.txt") if "bad" in path.read_text()]
if bad:
    try:
        os.mkdir(".mark-begin")
    except OSError:
        pass
    sys.exit(f"{bad} is bad")
"""
AGENT_DONE = "@run mkdir -p ../tmp/.mark-begin"
COMMITTED = ["@write a.txt", "a", "@end", "@commit kept", "@write more.txt", "more", "@end"]
RECOVERY_S = 60.0
PERSON = "waited for a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one flow happens; always the same path, since workspaces and repositories hold it."""

    root: Path

    @property
    def top(self) -> Path:
        return self.root / "user"

    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root / "home"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FLEET_SANDBOX_MODE": "off",  # the calls of ours count, not those of building walls
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "Test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
        }

    def git(self, *args: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *args],
            cwd=at or self.top,
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    name: str
    tasks: tuple[tuple[str, str], ...]  # id and prompt
    prepare: Callable[[Fleet], None] | None  # from a fleet that knows its tasks; None: no fleet yet
    body: Callable[[Place], None]


def build(flow: Flow, place: Place) -> None:
    """The repository as it is before the flow. In a process of its own: one may kill itself."""
    for folder in (place.top, place.root / "home", place.root / "cache", place.root / "tmp"):
        folder.mkdir(mode=0o700, parents=True)
    (place.top / "fleet.toml").write_text(CONFIG)
    (place.top / "check.py").write_text(CHECK)
    (place.top / "base.txt").write_text("base\n")
    (place.top / "tasks").mkdir()
    listed = [{"id": id_, "prompt": prompt} for id_, prompt in flow.tasks]
    (place.top / "tasks" / "tasks.toml").write_text(tomli_w.dumps({"tasks": listed}))
    place.git("init", "-q", "-b", "main", "--template=")
    place.git("add", "-A")
    place.git("commit", "-q", "-m", "first")
    if flow.prepare is None:
        _an_old_ledger(place)
    else:
        fleet = opened(place)
        take_tasks(fleet)
        flow.prepare(fleet)


def opened(place: Place) -> Fleet:
    os.environ.clear()
    os.environ.update(place.environ())
    return open_fleet(place.top, os.environ)


def a_worker(fleet: Fleet) -> Worker:
    become_subreaper()
    return Worker(fleet, Post(owner=myself("agent-1"), number=1), StopFlag(), random.Random(1))


def a_lander(fleet: Fleet) -> Lander:
    by = Caller(mark=fleet.layout.mark("lander", os.getpid()), stopped=lambda: None, first=True)
    return Lander(fleet, Branch(fleet, by), by, random.Random(1))


def mark(place: Place, name: str) -> None:
    """Where the tracer begins to count, and where it ends."""
    (place.root / "tmp" / f".mark-{name}").mkdir(exist_ok=True)


# -- the flows ------------------------------------------------------------------------------------


def _claim(place: Place) -> None:
    mark(place, "begin")
    assert a_worker(opened(place)).claim() is not None
    mark(place, "end")


def _spawn(place: Place) -> None:
    worker = a_worker(opened(place))
    taken = worker.claim()
    assert taken is not None
    mark(place, "begin")
    worker.work(taken)  # its agent marks the end


def _hand_in(place: Place) -> None:
    """From where the agent, or the check that fails it, marks the beginning."""
    mark(place, "end")
    worker = a_worker(opened(place))
    taken = worker.claim()
    assert taken is not None
    worker.work(taken)
    mark(place, "end")


def _land(place: Place) -> None:
    fleet = opened(place)
    lander = a_lander(fleet)
    mark(place, "begin")
    while lander.turn():
        pass
    mark(place, "end")


def _migrate(place: Place) -> None:
    mark(place, "begin")
    opened(place).close()
    mark(place, "end")


# -- what they begin with -------------------------------------------------------------------------


def _nothing(fleet: Fleet) -> None:
    return None


def _a_dead_attempt(fleet: Fleet) -> None:
    """Its agent kills this very process, in the middle of its work."""
    worker = a_worker(fleet)
    taken = worker.claim()
    assert taken is not None
    worker.work(taken)
    raise AssertionError("the agent did not kill its worker")


def _two_submissions(fleet: Fleet) -> None:
    """The second one will find that the branch has moved."""
    worker = a_worker(fleet)
    for _ in range(2):
        taken = worker.claim()
        assert taken is not None
        worker.work(taken)
    assert len(fleet.queue.waiting()) == 2


def _an_old_ledger(place: Place) -> None:
    """As the first schema had it, with one task whose worker has died."""
    layout = Layout(
        common_dir=place.top / ".git", top=place.top, cache=place.root / "cache" / "fleet"
    )
    layout.prepare()
    db = Database(layout.database)
    db.migrate(MIGRATIONS[:1])
    found = load(layout.task_folder("tasks"), max_attempts=9)
    Roster(db).sync(found.tasks, now=time.time())
    ledger = Ledger(db, Backoff(first_s=0.0, cap_s=0.0))
    ledger.claim(myself("agent-1"), lambda id_: id_, now=time.time())
    db.close()


def _writes(name: str, *more: str) -> str:
    return "\n".join([f"@write {name}", name, "@end", *more])


FLOWS = (
    Flow(
        name="claim",
        tasks=(("a", "\n".join([*COMMITTED, "@on 1", "@kill-worker", "@hang"])),),
        prepare=_a_dead_attempt,
        body=_claim,
    ),
    Flow(
        name="spawn",
        tasks=(("a", f"@run mkdir -p ../tmp/.mark-end\n{_writes('a.txt')}"),),
        prepare=_nothing,
        body=_spawn,
    ),
    Flow(
        name="submit",
        tasks=(("a", "\n".join([*COMMITTED, AGENT_DONE])),),
        prepare=_nothing,
        body=_hand_in,
    ),
    Flow(
        name="land",
        tasks=(("a", _writes("a.txt")), ("b", _writes("sub/b.txt"))),
        prepare=_two_submissions,
        body=_land,
    ),
    Flow(
        name="record",
        tasks=(("a", f"{_writes('bad.txt')}\n@if-findings\n{_writes('bad.txt').replace('bad', 'good')}\n@delete bad.txt\n@fi"),),  # noqa: E501
        prepare=_nothing,
        body=_hand_in,
    ),
    Flow(
        name="migrate",
        tasks=(("a", _writes("a.txt")), ("b", _writes("b.txt"))),
        prepare=None,
        body=_migrate,
    ),
)  # fmt: skip


# -- afterwards -----------------------------------------------------------------------------------


def recover(flow: Flow, place: Place) -> list[str]:
    """Go on as the next run would, to the end; then what is wrong, or () for nothing."""
    found: list[str] = []
    fleet = opened(place)
    take_tasks(fleet)
    control.begin(fleet.controls, agents=1)
    sweep(fleet)
    try:
        if _to_the_end(fleet, place):
            found.append(PERSON)
    except FleetError as error:
        return [f"cannot go on: {error}"]
    found += [str(breach) for breach in audit(fleet)]
    found += _unlike(flow, place, fleet)
    fleet.close()
    return found


def _needs_a_person(place: Place) -> bool:
    """A git that is killed in the user's repository leaves locks there that could be a person's:
    fleet says so and deletes nothing. A person tidies up."""
    names = ("index.lock", "HEAD.lock", "packed-refs.lock", "refs/heads/main.lock")
    found = [lock for name in names if (lock := place.top / ".git" / name).exists()]
    for lock in found:
        lock.unlink()
    if any(lock.name == "index.lock" for lock in found):
        place.git("reset", "-q", "--hard")
        place.git("clean", "-fdq")
    return bool(found)


def _to_the_end(fleet: Fleet, place: Place) -> bool:
    """All there is to do; whether a person had to help."""
    worker, lander, pause = a_worker(fleet), a_lander(fleet), threading.Event()
    until, helped = time.monotonic() + RECOVERY_S, False
    while time.monotonic() < until and not control.read(fleet.controls).faulty:
        taken = worker.claim()
        if taken is not None:
            worker.work(taken)
        elif not lander.turn():
            if fleet.roster.counts().open == 0:
                if not _needs_a_person(place):
                    break
                helped = True
            pause.wait(0.01)
    return helped


def _unlike(flow: Flow, place: Place, fleet: Fleet) -> Iterator[str]:
    """All that the audit of refs and ledger does not look at."""
    fault = control.read(fleet.controls).paused
    if fault:
        yield f"the fleet has paused itself: {fault}"
    for view in fleet.roster.tasks():
        if view.state != "merged":
            yield f"{view.task.id} ended {view.state}: {view.reason}"
    for repository in (place.top / ".git", fleet.layout.hub):
        checked = place.git("fsck", "--full", "--strict", "--no-dangling", at=repository)
        if checked.returncode:
            yield f"fsck of {repository.name}: {(checked.stdout + checked.stderr).strip()}"
    waits = place.git("status", "--porcelain").stdout
    if waits:
        yield f"the checkout: {waits.splitlines()}"
    if Target(place.top / ".git", "main").landed() is not None:
        yield "results still wait on fleet/landed"
    left = look(entry_of(ATTEMPT_MARK, fleet.layout.mark("a", 1))).marked()
    if left:
        yield f"{len(left)} processes of the attempt live"
    yield from (f"litter: {path.name}" for path in _litter(place, fleet))
    if flow.name == "claim" and not _is_kept(place, fleet):
        yield "A5: the dead attempt's commit is under no ref"


def _litter(place: Place, fleet: Fleet) -> Iterator[Path]:
    yield from fleet.layout.workspaces.iterdir()
    yield from (path for path in (place.root / "tmp").iterdir() if ".mark" not in path.name)
    # What a killed git leaves among the objects is in nobody's way, and gone with the next gc.
    for name in ("*.lock", ".index-*", "refs/**/*.lock"):
        yield from fleet.layout.hub.glob(name)
        yield from (place.top / ".git").glob(name)


def _is_kept(place: Place, fleet: Fleet) -> bool:
    """What the attempt had committed, and what it had not."""
    at = fleet.layout.hub
    shown = place.git("show", "refs/fleet/salvage/a/1/work:more.txt", at=at)
    told = place.git("log", "--format=%s", "--glob=refs/fleet/salvage/a/1", at=at)
    return shown.stdout == "more\n" and "kept" in told.stdout.splitlines()


def tree(place: Place) -> str:
    return place.git("rev-parse", "main^{tree}").stdout.strip()
