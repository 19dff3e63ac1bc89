"""What would land: an attempt merged onto a base, with policy applied to the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.core.task import Task, TestRule
from fleet.gate.checks import Check
from fleet.gate.names import MAX_TARGET_BYTES
from fleet.gate.policy import SYMLINK, Rules, Ruling, rule
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
    tests: TestRule = TestRule.KEEP

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
    ruling = _judge(hub, task, base_tree, merged.tree, rules, checks)
    tree = merged.tree
    if ruling.restore and not ruling.refusals:
        tree = overlay(hub, tree, base_tree, ruling.restore)
    refusal = "; ".join(ruling.refusals)
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
        tests=task.tests,
    )


def _judge(
    hub: Hub, task: Task, base_tree: str, tree: str, rules: Rules, checks: Sequence[Check]
) -> Ruling:
    diff = changes(hub, base_tree, tree)
    added = any(change.status == "A" for change in diff)
    words = {word for check in checks for word in check.argv}
    base_paths = hub.list_files(base_tree) if added or words else ()
    return rule(
        diff,
        task,
        rules,
        links=_links(hub, tree, diff),
        commands_use=words.intersection(base_paths),
        base_paths=base_paths,
    )


def _links(hub: Hub, tree: str, diff: Sequence[Change]) -> dict[str, str]:
    found = [c for c in diff if c.mode == SYMLINK and c.status != "D"]
    short = [c.path for c in found if c.size <= MAX_TARGET_BYTES]
    targets = hub.read_files(tree, short)
    return {path: target.decode("utf-8", "surrogateescape") for path, target in targets.items()}
