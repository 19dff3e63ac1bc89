"""State and events as rows and lines. Pure: no clock, no terminal, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fleet.core.attempt import Attempt
from fleet.core.event import Event, Kind
from fleet.core.state import Counts, TaskView
from fleet.core.story import Story
from fleet.core.task import IN_FLIGHT, TERMINAL, TaskState

_QUIET = frozenset({Kind.TASK_ADDED, Kind.TASK_CHANGED, Kind.WORKER_STARTED, Kind.LANDING})


def task_row(view: TaskView) -> tuple[str, ...]:
    tries = f"{view.attempts}/{view.task.max_attempts}"
    what = view.task.headline
    note = _note(view)
    return (view.shown, view.task.id, str(view.task.priority), tries, f"{what}{note}")


def _note(view: TaskView) -> str:
    if view.state is TaskState.MERGED:
        return f"  [{view.landed[:10]}]" if view.landed else f"  [{view.reason}]"
    if view.state in TERMINAL:
        return f"  [{view.state}: {view.reason}]"
    if view.state is TaskState.PENDING:
        if view.waiting:
            return f"  [waits for {', '.join(view.task.depends_on)}]"
        return f"  [last time: {view.reason}]" if view.reason else ""
    if view.state is TaskState.PARKED:
        return f"  [until {_clock(view.not_before)}: {view.reason}]"
    if view.state in (TaskState.SUBMITTED, TaskState.LANDING):
        return f"  [proven by {view.worker}, waits for the lander]"
    return f"  [{view.state} by {view.worker}]"


def task_page(
    view: TaskView, attempts: Sequence[Attempt], stories: Mapping[int, Story]
) -> list[str]:
    """`stories`: of those attempts, by epoch, whose agents told one."""
    task = view.task
    lines = [f"{task.id}: {task.headline}", f"  state     {view.state}{_because(view.reason)}"]
    facts = (
        ("file", task.source),
        ("priority", str(task.priority)),
        ("needs", ", ".join(task.depends_on)),
        ("paths", ", ".join(task.paths)),
        ("agent", task.agent),
        ("landed", view.landed),
    )
    lines += [f"  {name:<9} {value}" for name, value in facts if value]
    for attempt in attempts:
        took = (attempt.ended_at or attempt.claimed_at) - attempt.claimed_at
        how = attempt.outcome or "running"
        lines.append(
            f"  attempt {attempt.epoch}: {how} after {duration(took)}, {attempt.agent or '-'} "
            f"on {attempt.worker}{_because(attempt.reason)}"
        )
        if attempt.epoch in stories:
            lines.append(f"    its agent says: {story_line(stories[attempt.epoch])}")
    return [*lines, "", *task.prompt.strip().splitlines()]


def story_line(story: Story) -> str:
    """What an agent told of itself: nothing here is proven."""
    used = story.usage
    facts = [f"{_several(story.turns, 'turn')}, {_several(story.tool_calls, 'tool call')}"]
    if used:
        facts.append(f"{used.total_input:,} tokens in, {used.output:,} out")
    if story.cost_usd:
        facts.append(f"${story.cost_usd:.4f}")
    if story.session:
        facts.append(f"session {story.session}")
    if story.error:
        facts.append(f"gave up: {story.error}")
    return "; ".join(facts)


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def event_line(event: Event) -> str | None:
    """One line for a pipe or a log; None for what nobody needs to read."""
    if event.kind in _QUIET:
        return None
    clock = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    subject = f"{event.task}.{event.epoch}" if event.epoch else event.task or event.worker
    return f"{clock}  {event.kind:<14} {subject:<24} {_says(event)}".rstrip()


def _says(event: Event) -> str:
    match event.kind:
        case Kind.CLAIMED:
            return f"by {event.worker}"
        case Kind.RUNNING:
            return f"{event.agent} on {event.commit[:10]}"
        case Kind.AGENT_ENDED:
            return f"{event.agent} {event.outcome} after {duration(event.number)}" + _because(
                event.reason
            )
        case Kind.GATED:
            kept = f"; taken from the base: {', '.join(event.paths)}" if event.paths else ""
            return f"{event.verdict} in {duration(event.number)}{_because(event.reason)}{kept}"
        case Kind.LANDED | Kind.HARVESTED | Kind.SUBMITTED | Kind.PUBLISHED:
            return event.commit[:10]
        case Kind.PARKED:
            return f"until {_clock(event.number)}{_because(event.reason)}"
        case Kind.RETURNED | Kind.ENDED:
            return f"{event.outcome or event.state} -> {event.state}{_because(event.reason)}"
        case Kind.RUN_STARTED:
            return f"{event.number:.0f} agents"
        case Kind.WORKER_EXITED:
            return f"exit code {event.number:.0f}{_because(event.reason)}"
        case Kind.EXTERNAL:
            return (
                f"{event.number:.0f} commits from outside are the base, up to {event.commit[:10]}"
            )
        case _:
            return event.reason


def summary(counts: Counts, views: Sequence[TaskView], *, fault: str, waiting_on: str) -> list[str]:
    """What a run came to: numbers first, then what a person must look at."""
    ended = counts.total - counts.open
    lines = [
        f"{counts.merged} of {counts.total} tasks landed, {ended - counts.merged} did not"
        + (f", {counts.open} are still open" if counts.open else "")
    ]
    for view in views:
        if view.state in TERMINAL and view.state is not TaskState.MERGED:
            tries = f" after {view.attempts} tries" if view.attempts else ""
            lines.append(f"  {view.task.id}: {view.state}{tries}{_because(view.reason)}")
    if waiting_on:
        lines.append(waiting_on)
    if fault:
        lines.append(f"paused: {fault}")
    return lines


def status_lines(
    counts: Counts, *, running: bool, paused: str, stopping: str, new: int
) -> list[str]:
    """The head of `fleet status`."""
    state = "running" if running else "not running"
    if paused:
        state += f", paused: {paused}"
    if stopping and running:
        state += f", stopping ({stopping})"
    flight = counts.of(*IN_FLIGHT)
    pending = counts.of(TaskState.PENDING) + new
    parked = counts.of(TaskState.PARKED)
    return [
        f"fleet is {state}",
        f"{counts.total + new} tasks: {counts.merged} landed, {flight} in flight, "
        f"{pending} pending, "
        + (f"{parked} parked, " if parked else "")
        + f"{counts.total - counts.open - counts.merged} not landed",
    ]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
