"""What a change may contain, whatever its tests say. Pure.

The rules come from the base and the task's author, never from the branch under test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.core.globs import matches
from fleet.core.task import Task
from fleet.gate import names
from fleet.gate.checks import is_test_file
from fleet.repo.merge import Change

SYMLINK, SUBMODULE = "120000", "160000"
LARGEST_FILES = 10  # all of a change may take this many times the largest file allowed


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
        guarded = _is_protected(path, rules.protected) or path in commands_use
        if guarded and path not in task.paths:
            restore.append(path)
            touched.append(path)
            continue
        if guarded or is_test_file(path):
            touched.append(path)
        if is_test_file(path) and change.status != "A":
            edited.append(path)
        refusals += _wrong_with(change, task, rules, links)
    refusals += names.clashes([c.path for c in changes if c.status == "A"], base_paths)
    refusals += _too_much(changes, rules)
    if restore and not rules.restore:
        refusals.append(f"it changes protected files: {_listed(restore)}")
    return Ruling(
        refusals=tuple(refusals),
        restore=tuple(restore),
        touched=tuple(touched),
        edited_tests=tuple(edited),
    )


def _is_protected(path: str, globs: Sequence[str]) -> bool:
    """Also a link in place of a protected folder; and hidden files in any spelling, since for a
    tool on a file system that folds case they are one."""
    if matches(path, globs) or matches(f"{path}/.", globs):
        return True
    return "/." in f"/{path}" and matches(path.lower(), [glob.lower() for glob in globs])


def _wrong_with(change: Change, task: Task, rules: Rules, links: Mapping[str, str]) -> list[str]:
    path, shown = change.path, names.shown(change.path)
    if task.paths and not matches(path, task.paths):
        return [f"it changes {shown}, outside the paths of its task ({', '.join(task.paths)})"]
    if change.status == "D":
        return []
    if change.mode == SUBMODULE:
        return [f"it adds a submodule or a nested repository at {shown}"]
    if change.mode == SYMLINK and names.leads_astray(path, links.get(path, "/")):
        return [f"it adds a symbolic link that leads outside the repository: {shown}"]
    if names.is_gits(path):
        return [f"it adds a path git itself uses: {shown}"]
    odd = names.odd(path) if change.status == "A" and path not in task.paths else ""
    if odd:
        return [f"it adds a name with {odd}: {shown}"]
    if change.size > rules.max_file_bytes:
        limit = rules.max_file_bytes // 1_000_000
        return [f"{shown} has {change.size / 1e6:.0f} MB; the limit is {limit} MB (max_file_mb)"]
    return []


def _too_much(changes: Sequence[Change], rules: Rules) -> list[str]:
    """Files that are small enough one by one: one blob under ten thousand names fills a disk."""
    size, limit = sum(change.size for change in changes), rules.max_file_bytes * LARGEST_FILES
    if size <= limit:
        return []
    return [
        f"its {len(changes)} files have {size / 1e6:.0f} MB in all; the limit is "
        f"{limit / 1e6:.0f} MB ({LARGEST_FILES} × max_file_mb)"
    ]


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more
