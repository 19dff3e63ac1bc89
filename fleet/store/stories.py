"""What each attempt's agent told of its work, kept beside its transcript once it has ended."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from fleet.core.attempt import Claim
from fleet.core.story import Story
from fleet.core.task import TaskId
from fleet.core.usage import Usage
from fleet.store.files import write_private
from fleet.store.layout import Layout


def keep(layout: Layout, claim: Claim, story: Story) -> None:
    """Replaces that of an earlier run of the attempt. One that tells nothing is not kept."""
    if story != Story():
        told = json.dumps(asdict(story), ensure_ascii=False)
        write_private(layout.story(claim.task.id, claim.epoch), told.encode())


def find(layout: Layout, task: TaskId, epoch: int) -> Story | None:
    """None: its agent told nothing, or is still at work, or never ended."""
    try:
        told = json.loads(layout.story(task, epoch).read_bytes())
        usage = Usage(**told["usage"])
        found = Story(**told | {"usage": usage})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if _is_whole(found, Story()) and _is_whole(usage, Usage()) else None


def _is_whole(found: Story | Usage, usual: Story | Usage) -> bool:
    """Whether every value is of its kind: a file may have been damaged."""
    for field in fields(usual):
        value, kind = getattr(found, field.name), type(getattr(usual, field.name))
        if kind is type(None):
            kind = type(None) if value is None else float
        if type(value) is not kind:
            return False
    return True
