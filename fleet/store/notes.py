"""Notes to agents at work: written for an attempt that runs, and gone with it.

A note belongs to one epoch. It is read by whoever carries it (the proxy, or the worker that holds
the agent's stdin) while that attempt is live; its row stays, for those who look back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping

from fleet.core.attempt import attempt_key
from fleet.core.errors import UsageError
from fleet.core.event import Event, Kind
from fleet.core.note import Note, Via
from fleet.core.task import HELD, TERMINAL, TaskId, TaskState
from fleet.store import events
from fleet.store.database import Database

LONGEST = 8_000  # characters
SHOWN = 200  # of them in the event

_HELD = ", ".join(f"'{state}'" for state in sorted(HELD))
_OF_LIVE = f"""
    SELECT n.task, n.epoch, n.seq, n.text
    FROM notes n JOIN tasks t ON t.id = n.task AND t.epoch = n.epoch
    WHERE n.via = ? AND t.state IN ({_HELD}) ORDER BY n.task, n.seq"""  # noqa: S608 - ours
_NOT_AT_WORK = {
    TaskState.PENDING: "is pending: change its prompt instead",
    TaskState.PARKED: "is parked until its provider takes calls again",
    TaskState.CLAIMED: "is claimed, and its agent is not started yet: try again in a moment",
    TaskState.SUBMITTED: "is proven, and waits to be landed",
    TaskState.LANDING: "is being landed",
}


def checked(text: str) -> str:
    """The text as it will be told; refuses what no agent should be."""
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise UsageError("the note is empty: say what the agent is to know")
    if len(text) > LONGEST:
        raise UsageError(
            f"the note has {len(text):,} characters, and {LONGEST:,} is the most: put the rest "
            "into a file of the repository and name that"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text if char not in "\n\t"):
        raise UsageError("the note is not plain text: it has control characters or odd bytes")
    return text


def write(
    db: Database, task: TaskId, text: str, via: Callable[[str], Via], *, now: float
) -> tuple[str, int, Via]:
    """For the agent that is at work on a task now: which agent, which epoch, and by which way.
    `via` is told its name, and may refuse. Only `checked` text."""
    with db.transaction():
        agent, epoch = _at_work(db, task)
        way = via(agent)
        row = db.one(
            "SELECT coalesce(max(seq), 0) + 1 FROM notes WHERE task = ? AND epoch = ?",
            (task, epoch),
        )
        assert row is not None
        db.write(
            "INSERT INTO notes(task, epoch, seq, text, via, at) VALUES(?,?,?,?,?,?)",
            (task, epoch, row[0], text, way, now),
        )
        shown = " ".join(text.split())
        events.append(
            db,
            Event(
                kind=Kind.NOTED,
                at=now,
                task=task,
                epoch=epoch,
                agent=agent,
                reason=shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…",
            ),
        )
    return agent, epoch, way


def since(db: Database, task: TaskId, epoch: int, via: Via, *, seq: int = 0) -> tuple[Note, ...]:
    """Those of one attempt that came after the one numbered `seq`."""
    rows = db.rows(
        "SELECT seq, text FROM notes WHERE task = ? AND epoch = ? AND seq > ? AND via = ? "
        "ORDER BY seq",
        (task, epoch, seq, via),
    )
    return tuple(_note(number, text) for number, text in rows)


def carry_over(db: Database, task: TaskId, epoch: int, ways: Collection[Via]) -> None:
    """An attempt goes on with the work of the one before: what that was told still holds."""
    marks = ",".join("?" * len(ways))
    db.write(
        "INSERT OR IGNORE INTO notes(task, epoch, seq, text, via, at) "  # noqa: S608
        f"SELECT task, ?, seq, text, via, at FROM notes WHERE task = ? AND epoch = ? "
        f"AND via IN ({marks})",
        (epoch, task, epoch - 1, *ways),
    )


def of_live_attempts(db: Database, via: Via) -> Mapping[str, tuple[Note, ...]]:
    """By the key of the attempt; those without a note are not in it."""
    found: dict[str, tuple[Note, ...]] = {}
    for task, epoch, seq, text in db.rows(_OF_LIVE, (via,)):
        key = attempt_key(str(task), _int(epoch))
        found[key] = (*found.get(key, ()), _note(seq, text))
    return found


def _at_work(db: Database, task: TaskId) -> tuple[str, int]:
    """The agent that is, and the epoch of its attempt."""
    row = db.one(
        "SELECT t.state, t.epoch, a.agent, a.head FROM tasks t "
        "LEFT JOIN attempts a ON a.task = t.id AND a.epoch = t.epoch WHERE t.id = ?",
        (task,),
    )
    if row is None:
        raise UsageError(f"no run has seen a task {task!r}: see `fleet task list`")
    state, epoch, agent, head = row
    if state != TaskState.RUNNING:
        raise UsageError(f"task {task!r} {_why_not(TaskState(str(state)))}")
    if head:
        raise UsageError(
            f"the agent of task {task!r} has ended, and what it did is being proven: nobody would "
            "read the note"
        )
    return str(agent), _int(epoch)


def _why_not(state: TaskState) -> str:
    if state in TERMINAL:
        return f"has ended ({state}): no agent is at work on it"
    return _NOT_AT_WORK[state]


def _note(seq: object, text: object) -> Note:
    return Note(_int(seq), str(text))


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
