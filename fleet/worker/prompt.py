"""The text an agent gets: the task, how its work will be judged, and what went wrong before.

Data, never template code. What is the same for every task comes first and never changes, so
that providers can cache it. No task's id is in it: agents with the same text ask the same of a
model, which then answers once. Who must know its task has FLEET_TASK. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.attempt import Outcome
from fleet.core.task import SuppressionRule, Task, TestRule

FINDINGS_SHOWN = 20
RULES = """\
You are working on one task in a private clone of a git repository. Nobody can answer questions:
decide, and do the work.

- Change what the task asks for, and nothing else. Follow AGENTS.md or CLAUDE.md where there is one.
- You may commit; whatever you leave uncommitted is committed for you. Do not push.
- When you are done, your change is merged with the newest state of the branch, and the merge
  result is tested. It lands only if nothing fails that did not fail before.
- Tests that exist may not be skipped, deleted or weakened; they are also run as they were.
- Checks may not be silenced: no new `# noqa`, `# type: ignore` and the like.
- Files that configure tests and linters are taken from the branch as it is, not from you.
- Do not start programs that go on running after you: they are ended.
"""


GO_ON = """\
You were interrupted while you worked on this task. Your workspace is as you left it, but for
commands that were running: those have been ended. Look where you stopped, and go on from there.
"""
INTERRUPTED = """\
## What is there already

Somebody began with this task and was interrupted. What they did is in your workspace, committed or
not: look at it first, keep what is good, and finish the task.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """How the attempt before this one went."""

    outcome: Outcome | None = None
    reason: str = ""
    findings: tuple[str, ...] = ()


def write(
    task: Task, *, checks: tuple[str, ...], earlier: Earlier, interrupted: bool = False
) -> str:
    """The whole prompt of one attempt."""
    parts = [RULES, f"The checks: {'; '.join((*checks, *task.gate))}.\n"]
    if task.paths:
        parts.append(f"You may only change: {', '.join(task.paths)}.\n")
    if task.tests is TestRule.MAY_CHANGE:
        parts.append("This task may change existing tests.\n")
    if task.suppressions is SuppressionRule.MAY_ADD:
        parts.append("This task may add comments that silence checks.\n")
    parts.append(f"## Your task\n\n{task.prompt.strip()}\n")
    if earlier.outcome is not None:
        parts.append(_before(earlier))
    if interrupted:
        parts.append(INTERRUPTED)
    return "\n".join(parts)


def _before(earlier: Earlier) -> str:
    lines = ["## What the last attempt ran into", ""]
    if earlier.outcome is Outcome.CONFLICT:
        lines.append("It did not merge: others changed the same lines. Start from the new state.")
    lines.append(f"It ended as {earlier.outcome}: {earlier.reason}")
    shown = earlier.findings[:FINDINGS_SHOWN]
    lines += [f"- {finding}" for finding in shown]
    if len(earlier.findings) > len(shown):
        lines.append(f"- … and {len(earlier.findings) - len(shown)} more")
    return "\n".join(lines) + "\n"
