"""Who sends model traffic: one attempt of one task, as the proxy knows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.attempt import Outcome, attempt_key
from fleet.core.note import Note
from fleet.core.task import TaskId

# After one of these an agent must think anew: it may not be given the answers that led there.
VERDICTS = (
    Outcome.MERGED,
    Outcome.REJECTED,
    Outcome.CONFLICT,
    Outcome.TIMEOUT,
    Outcome.CRASHED,
    Outcome.REFUSED,
    Outcome.STUCK,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The bearer of a live token."""

    hash: str  # SHA-256 of the token, in hex
    task: TaskId = ""  # "": somebody by hand
    epoch: int = 0
    agent: str = ""
    worker: str = ""
    priority: int = 1  # its task's: 0 is the most urgent
    verdicts: int = 0  # earlier attempts at the task that ended in one
    key: str  # names it in rows, logs and hashes
    budget: int | None = None  # nano-dollars, of its task; None: the usual one
    notes: tuple[Note, ...] = ()  # to be put into its conversations

    @staticmethod
    def key_of(task: TaskId, epoch: int, digest: str) -> str:
        return attempt_key(task, epoch) if task else f"by-hand.{digest[:8]}"
