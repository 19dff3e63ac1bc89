"""Reading many commits of the user's repository, through GitPython's kept `Repo`.

One process answers all of it; nothing here writes, and git's own commands do what does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import git

from fleet.repo.git import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    tree: str
    message: str


class Reader:
    def __init__(self, common_dir: Path) -> None:
        self._repo = git.Repo(common_dir)
        # For the `git cat-file` it keeps until it is closed.
        self._repo.git.update_environment(**environment(GIT_DIR=str(common_dir)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._repo.close()

    def first_parents(self, tip: str) -> Iterator[Commit]:
        """The line of first parents from `tip` back to the root."""
        commit: git.Commit | None = self._repo.commit(tip)
        while commit is not None:
            yield Commit(sha=commit.hexsha, tree=commit.tree.hexsha, message=_text(commit.message))
            commit = commit.parents[0] if commit.parents else None


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode("utf-8", "replace")
