"""What would land: an attempt merged onto a base, with policy applied to the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet.core.task import SuppressionRule, Task, TestRule
from fleet.gate.checks import Check, is_test_file
from fleet.gate.names import MAX_TARGET_BYTES
from fleet.gate.policy import SYMLINK, Rules, Ruling, rule
from fleet.gate.shadows import implied, shadowing
from fleet.gate.suppressions import added
from fleet.repo.hub import Hub
from fleet.repo.merge import Change, changes, merge, overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The tree that would land, and what has to be known to judge it. Or why there is none."""

    base: str  # a commit
    base_tree: str
    tree: str = ""
    conflicts: tuple[str, ...] = ()
    refusal: str = ""
    restored: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    edited_tests: tuple[str, ...] = ()
    new_tests: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()  # all files of the base that it edits or deletes
    tests: TestRule = TestRule.KEEP
    named: tuple[str, ...] = ()  # files that its task names, and may make what it likes of

    @property
    def stands(self) -> bool:
        return not self.conflicts and not self.refusal


def build(
    hub: Hub, task: Task, *, base: str, head: str, rules: Rules, checks: Sequence[Check]
) -> Candidate:
    """Merge `head` onto `base` in the hub: no working tree is touched, no agent's code runs."""
    base_tree = hub.tree_of(base)
    merged = merge(hub, base, head)
    if merged.conflicts:
        return Candidate(base=base, base_tree=base_tree, conflicts=merged.conflicts)
    if merged.tree == base_tree:
        return Candidate(base=base, base_tree=base_tree, refusal="it changes nothing")
    diff = changes(hub, base_tree, merged.tree)
    ruling = _judge(hub, task, base_tree, merged.tree, diff, rules, checks)
    tree = merged.tree
    if ruling.restore and not ruling.refusals:
        tree = overlay(hub, tree, base_tree, ruling.restore)
    refusal = "; ".join(ruling.refusals) or _silences(hub, task, base_tree, tree, diff, rules)
    if not refusal and tree == base_tree:
        refusal = f"it changes nothing but protected files: {', '.join(ruling.restore[:5])}"
    return Candidate(
        base=base,
        base_tree=base_tree,
        tree=tree,
        refusal=refusal,
        restored=ruling.restore,
        touched=ruling.touched,
        edited_tests=ruling.edited_tests,
        new_tests=tuple(c.path for c in diff if c.status == "A" and is_test_file(c.path)),
        edited=tuple(change.path for change in diff if change.status != "A"),
        tests=task.tests,
        named=task.paths,
    )


def _judge(
    hub: Hub,
    task: Task,
    base_tree: str,
    tree: str,
    diff: Sequence[Change],
    rules: Rules,
    checks: Sequence[Check],
) -> Ruling:
    grows = any(change.status == "A" for change in diff)
    words = {word for check in checks for word in check.argv}
    base_paths = hub.list_files(base_tree) if grows or words else ()
    ruling = rule(
        diff,
        task,
        rules,
        links=_links(hub, tree, diff),
        commands_use=words.intersection(base_paths) | implied(checks),
        base_paths=base_paths,
    )
    new = [c.path for c in diff if c.status == "A" and c.path not in task.paths]
    gone = {c.path for c in diff if c.status == "D"}
    left = [path for path in base_paths if path not in gone]
    shadows = [
        f"{path} would take the place of another module of that name"
        for path in shadowing(new, left, rules.installed)
        if path not in ruling.restore
    ]
    return replace(ruling, refusals=(*ruling.refusals, *shadows))


def _silences(
    hub: Hub, task: Task, base_tree: str, tree: str, diff: Sequence[Change], rules: Rules
) -> str:
    if rules.may_silence or task.suppressions is SuppressionRule.MAY_ADD:
        return ""
    paths = [c.path for c in diff if c.path.endswith((".py", ".pyi")) and c.mode != SYMLINK]
    return added(_texts(hub, base_tree, paths), _texts(hub, tree, paths))


def _texts(hub: Hub, tree: str, paths: Sequence[str]) -> dict[str, str]:
    """The files of a tree, of those that it has."""
    found = hub.read_files(tree, paths)
    return {path: text.decode("utf-8", "replace") for path, text in found.items()}


def _links(hub: Hub, tree: str, diff: Sequence[Change]) -> dict[str, str]:
    found = [c for c in diff if c.mode == SYMLINK and c.status != "D"]
    short = [c.path for c in found if c.size <= MAX_TARGET_BYTES]
    targets = hub.read_files(tree, short)
    return {path: target.decode("utf-8", "surrogateescape") for path, target in targets.items()}
