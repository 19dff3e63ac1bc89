"""What the branch itself says has landed: the trailers of its first-parent line.

Only that line counts: the messages of its commits are ours or the user's. What an agent writes
into its own commits comes second-parent, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.core.task import TASK_ID
from fleet.core.truth import Landed
from fleet.repo.git import Git
from fleet.repo.trailers import parse

_FORM = "%H%n%T%n%ct%n%B"


def landed(git: Git, tips: Sequence[str], *, since: Sequence[str] = ()) -> tuple[Landed, ...]:
    """Oldest first; only what is newer than `since`, as far as those commits still exist."""
    known = tuple(f"^{commit}" for commit in since if _has(git, commit))
    if not tips:
        return ()
    # Whatever the repository's own configuration says of patterns, signatures and encodings.
    listed = git.run(
        "log", "-z", "--reverse", "--first-parent", "--basic-regexp", "--grep=^Fleet-Task: ",
        "--no-show-signature", "--encoding=UTF-8", f"--format={_FORM}", *tips, *known, "--",
    ).out.decode("utf-8", "replace")  # fmt: skip
    return tuple(_stamped(listed.split("\0")))


def outside(
    git: Git, tips: Sequence[str], ours: Sequence[Landed], *, since: Sequence[str] = ()
) -> tuple[str, ...]:
    """Commits of the line that are not ours, newest first: from the one before our first on, or
    the tips alone where nothing of ours is."""
    if not tips or (since and not ours):
        return ()
    if not ours:
        return tuple(tips)
    first = ours[0].commit
    before = git.run("rev-parse", "--verify", "--quiet", f"{first}^1", check=False).text
    args = ("rev-list", "--first-parent", *tips, *((f"^{before}",) if before else ()), "--")
    stamped = {entry.commit for entry in ours}
    line = (commit for commit in git.run(*args).text.split() if commit not in stamped)
    return (*line, *((before,) if before and not since else ()))


def _stamped(entries: Sequence[str]) -> Iterator[Landed]:
    for entry in entries:
        head = entry.lstrip("\n").split("\n", 3)
        if len(head) < 4:
            continue
        commit, tree, at, message = head
        stamp = parse(message)
        if stamp is not None and TASK_ID.fullmatch(stamp.task):
            subject = message.strip().partition("\n")[0]
            yield Landed(
                commit=commit,
                tree=tree,
                task=stamp.task,
                epoch=stamp.epoch,
                at=float(at),
                subject=subject,
            )


def _has(git: Git, commit: str) -> bool:
    return git.run("cat-file", "-e", f"{commit}^{{commit}}", check=False).ok
