"""What a change may contain, whatever its tests say. Pure.

The rules come from the base and the task's author, never from the branch under test.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.core.globs import matches
from fleet.core.task import Task
from fleet.gate.checks import is_test_file
from fleet.repo.merge import Change

SYMLINK, SUBMODULE = "120000", "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    protected: tuple[str, ...]  # globs
    restore: bool  # take protected paths back from the base, rather than refuse the change
    max_file_bytes: int
    may_silence: bool = False  # any task may add comments that silence checks
    installed: frozenset[str] = frozenset()  # modules whose names no new one may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What policy says about one diff."""

    refusals: tuple[str, ...] = ()  # sentences; any of them refuses the change
    restore: tuple[str, ...] = ()  # protected paths to take back from the base
    touched: tuple[str, ...] = ()  # tests and configuration the change edits, for the report
    edited_tests: tuple[str, ...] = ()  # test files of the base, edited or deleted


def rule(
    changes: Sequence[Change],
    task: Task,
    rules: Rules,
    *,
    links: Mapping[str, str],
    commands_use: Collection[str] = (),
    base_paths: Iterable[str] = (),
) -> Ruling:
    """Judge a diff from base to merge result. `links` has the targets of its symbolic links;
    `commands_use` the files of the base that the gate's own commands name."""
    refusals: list[str] = []
    restore: list[str] = []
    touched: list[str] = []
    edited: list[str] = []
    for change in changes:
        path = change.path
        guarded = matches(path, rules.protected) or path in commands_use
        if guarded and path not in task.paths:
            restore.append(path)
            touched.append(path)
            continue
        if guarded or is_test_file(path):
            touched.append(path)
        if is_test_file(path) and change.status != "A":
            edited.append(path)
        refusals += _wrong_with(change, task, rules, links)
    refusals += _case_clashes([c.path for c in changes if c.status == "A"], base_paths)
    if restore and not rules.restore:
        refusals.append(f"it changes protected files: {_listed(restore)}")
    return Ruling(
        refusals=tuple(refusals),
        restore=tuple(restore),
        touched=tuple(touched),
        edited_tests=tuple(edited),
    )


def _wrong_with(change: Change, task: Task, rules: Rules, links: Mapping[str, str]) -> list[str]:
    path = change.path
    if task.paths and not matches(path, task.paths):
        return [f"it changes {path}, outside the paths of its task ({', '.join(task.paths)})"]
    if change.status == "D":
        return []
    if change.mode == SUBMODULE:
        return [f"it adds a submodule or a nested repository at {path}"]
    if change.mode == SYMLINK and _leads_outside(path, links.get(path, "/")):
        return [f"it adds a symbolic link that leads outside the repository: {path}"]
    if any(part.lower().rstrip(". ") == ".git" for part in path.split("/")):
        return [f"it adds a path git itself uses: {path}"]
    if change.size > rules.max_file_bytes:
        limit = rules.max_file_bytes // 1_000_000
        return [f"{path} has {change.size / 1e6:.0f} MB; the limit is {limit} MB (max_file_mb)"]
    return []


def _leads_outside(path: str, target: str) -> bool:
    if target.startswith("/"):
        return True
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).startswith("..")


def _case_clashes(added: Sequence[str], base_paths: Iterable[str]) -> list[str]:
    """Two paths that are one on a file system that folds case."""
    if not added:
        return []
    seen = {path.casefold(): path for path in base_paths}
    clashes = []
    for path in added:
        other = seen.setdefault(path.casefold(), path)
        if other != path:
            clashes.append(f"{path} and {other} differ only in case")
    return clashes


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more
