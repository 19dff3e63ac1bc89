"""The trailers by which a commit on the user's branch is known as ours. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    task: str
    epoch: int
    run: str


_STAMP = re.compile(
    r"^Fleet-Task: (?P<task>\S+)\nFleet-Epoch: (?P<epoch>\d+)\nFleet-Run: (?P<run>\S+)$",
    re.MULTILINE,
)


def message(subject: str, body: str, *, task: str, epoch: int, run: str) -> str:
    """A commit message that names its task. Nothing in subject or body can pass for a trailer."""
    text = "\n\n".join(part for part in (subject.strip(), body.strip()) if part)
    text = re.sub(r"(?mi)^(fleet-\w+:)", r" \1", text)
    return f"{text}\n\nFleet-Task: {task}\nFleet-Epoch: {epoch}\nFleet-Run: {run}\n"


def parse(text: str) -> Stamp | None:
    """The stamp of a commit message, if it is one of ours."""
    trailers = text.rstrip().rpartition("\n\n")[2]  # quoted ones stand further up
    stamps = list(_STAMP.finditer(trailers))
    if not stamps:
        return None
    found = stamps[-1]
    return Stamp(task=found["task"], epoch=int(found["epoch"]), run=found["run"])
