"""The tasks a person wrote: `tasks/*.toml`, or one file of the predecessor's kind.

All problems are found at once. A task with a problem is left out and the rest still loads, so
that it can be listed; whoever starts a run refuses while `problems` is not empty.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.config import read_plain, wrong_glob
from fleet.core.errors import Problem
from fleet.core.graph import circles
from fleet.core.table import Table, did_you_mean, in_order, shown
from fleet.core.task import TASK_ID, SuppressionRule, Task, TaskId, TaskState, TestRule
from fleet.core.toml import Document, parse

SHOWN_OF_A_CIRCLE = 8
MOST_PROBLEMS = 1_000  # in one file: nobody mends more at once
ADVISED, NAMES_COMPARED = 20, 2_000  # looking for the nearest of 2,000 names takes 50 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFiles:
    """What was read, in the order of files and lines."""

    tasks: tuple[Task, ...] = ()
    problems: tuple[Problem, ...] = ()
    files: tuple[tuple[str, str], ...] = ()  # the path of each file, and the SHA-256 that was read


class FileStatus(StrEnum):
    """`status` as the predecessor writes it. Only the last two are honoured."""

    PENDING = "pending"
    CLAIMED = "claimed"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


_STATES = {FileStatus.COMPLETED: TaskState.MERGED, FileStatus.FAILED: TaskState.FAILED}


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[tasks]]` as read. `whole` says that nothing in it is wrong by itself."""

    task: Task
    depends_at: str  # where its depends_on stands
    whole: bool


def load(place: Path, *, max_attempts: int = 3) -> TaskFiles:
    """Every task file of a folder in name order, or the one file at `place`. None there: no tasks.

    `max_attempts` is for tasks that do not say.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    files: list[tuple[str, str]] = []
    unread: list[str] = []
    for path, name, raw in contents(place, place.name):
        if isinstance(raw, bytes):
            files.append((str(path), hashlib.sha256(raw).hexdigest()))
        found = parse(raw, name) if isinstance(raw, bytes) else raw
        if isinstance(found, Problem):
            problems.append(found)
            unread.append(name)
        else:
            entries += read(found, problems, max_attempts=max_attempts)
    wrong = _check_together(entries, problems, unread)
    return TaskFiles(
        tasks=tuple(e.task for e in entries if e.whole and e.task.source not in wrong),
        problems=in_order(problems),
        files=tuple(files),
    )


def fingerprint(place: Path) -> str:
    """Changes when a task file is added, removed or written to; looks only at their dates."""
    digest = hashlib.sha256()
    for path in [place, *(place / name for name in _names(place))]:
        try:
            found = path.lstat()
        except OSError:
            continue
        digest.update(os.fsencode(path) + b"\0")
        if path != place or not path.is_dir():
            digest.update(f"{found.st_ino} {found.st_size} {found.st_ctime_ns} ".encode())
    return digest.hexdigest()


def read(document: Document, problems: list[Problem], *, max_attempts: int = 3) -> list[Entry]:
    """The tasks of one file. What concerns more than one task is not looked at."""
    root = Table(document.data, document, problems)
    before, entries = len(problems), []
    for table in root.tables("tasks"):
        entries.append(_entry(table, max_attempts))
        if len(problems) - before > MOST_PROBLEMS:
            table.report("", "nothing after this task was looked at", "mend what is above first")
            break
    root.finish()
    return entries


def wrong_id(text: str) -> str:
    """What is the matter with an id; "" if nothing is. Ids become names of files and refs."""
    if not TASK_ID.fullmatch(text):
        return (
            "is no valid id: 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if ".." in text or text.endswith((".lock", ".")):
        return "is no valid id: git allows no '..', and no '.' or '.lock' at the end"
    return ""


# -- one task ---------------------------------------------------------------------------------


def _entry(table: Table, max_attempts: int) -> Entry:
    before = len(table.problems)
    task = Task(
        id=_id(table),
        prompt=table.text("prompt", required=True),
        title=table.text("title", limit=1_000),
        priority=table.integer("priority", 1),
        depends_on=tuple(dict.fromkeys(table.texts("depends_on"))),
        agent=table.text("agent", limit=100),
        model=table.text("model", limit=200),
        paths=table.texts("paths", wrong=wrong_glob),
        timeout_s=table.seconds("timeout", None),
        max_attempts=table.integer("max_attempts", max_attempts, low=1, high=100),
        budget_usd=table.number("budget_usd", None, high=1e6),
        gate=table.commands("gate"),
        labels=table.texts("labels"),
        tests=table.choice("tests", TestRule.KEEP),
        suppressions=table.choice("suppressions", SuppressionRule.KEEP),
        status=_STATES.get(table.choice("status", FileStatus.PENDING), TaskState.PENDING),
        failure_reason=table.text("failure_reason"),
        source=table.place,
    )
    table.text("claimed_by")  # the predecessor's; who holds a task is the ledger's business
    table.finish()
    return Entry(task, table.where("depends_on"), whole=len(table.problems) == before)


def _id(table: Table) -> TaskId:
    text = table.text("id", required=True)
    wrong = wrong_id(text) if text else ""
    if wrong:
        close = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64]
        table.report("id", f"{shown(text)} {wrong}", f"such as {close!r}" if close else "")
    return text


# -- what concerns more than one task -----------------------------------------------------------


def _check_together(
    entries: Sequence[Entry], problems: list[Problem], unread: Sequence[str]
) -> set[str]:
    """Report double ids, and dependencies that cannot be; the places of the tasks at fault."""
    first: dict[str, Task] = {}
    wrong: set[str] = set()
    for entry in entries:
        task = entry.task
        other = first.setdefault(task.id.casefold(), task)
        if task.id and other is not task:
            what = f"the id {shown(task.id)} is taken: {shown(other.id)} is at {other.source}"
            problems.append(Problem(where=task.source, what=what, fix="give one of them another"))
            wrong |= {task.source, other.source}
    known: dict[str, Entry] = {}
    for entry in entries:
        known.setdefault(entry.task.id, entry)
    for entry in entries:
        advise = len(problems) < ADVISED and len(known) < NAMES_COMPARED
        for what, fix in _wrong_dependencies(entry.task, known if advise else {}, known.keys()):
            fix = f"mend {unread[0]} first: it may be in there" if unread else fix
            problems.append(Problem(where=entry.depends_at, what=what, fix=fix))
            wrong.add(entry.task.source)
    for problem, members in _circles(known):
        problems.append(problem)
        wrong |= members
    return wrong


def _wrong_dependencies(
    task: Task, near: Iterable[str], known: Collection[str]
) -> Iterator[tuple[str, str]]:
    for needed in task.depends_on:
        if needed == task.id:
            yield f"task {shown(task.id)} depends on itself", "take it out of depends_on"
        elif needed not in known:
            what = f"task {shown(task.id)} depends on {shown(needed)}, which is no task"
            yield what, did_you_mean(needed, near)


def _circles(known: Mapping[str, Entry]) -> Iterator[tuple[Problem, set[str]]]:
    edges = {
        id_: [needed for needed in entry.task.depends_on if needed != id_]
        for id_, entry in known.items()
    }
    for circle in circles(edges):
        names = list(circle)
        if len(names) > SHOWN_OF_A_CIRCLE:
            names[SHOWN_OF_A_CIRCLE - 1 : -1] = ["…"]
        problem = Problem(
            where=known[circle[0]].depends_at,
            what="tasks wait for each other: " + " → ".join((*names, circle[0])),
            fix="take one of these out of the depends_on before it",
        )
        yield problem, {known[id_].task.source for id_ in circle}


# -- files --------------------------------------------------------------------------------------


def contents(place: Path, called: str) -> Iterator[tuple[Path, str, bytes | Problem]]:
    """Path, name in messages, and content of each TOML file of a folder, or of the one file."""
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        yield place, _printable(called), read_plain(place, _printable(called))
        return
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        yield place, called, Problem(where=called, what=what, fix="let it be read: chmod u+rx")
        return
    try:
        for file in _names(place):
            name = _printable(f"{called}/{file}")
            yield place / file, name, read_plain(file, name, folder=folder)
    finally:
        os.close(folder)


def _names(place: Path) -> list[str]:
    """The task files of a folder, without what editors leave there: `.x`, `x~`, `x.tmp`."""
    try:
        found = [entry.name for entry in place.iterdir()]
    except OSError:
        return []
    return sorted(name for name in found if name.endswith(".toml") and not name.startswith("."))


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
