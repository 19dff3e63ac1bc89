from __future__ import annotations

import pytest

from fleet.config.sections import PROTECTED
from fleet.config.steering import STEERING
from fleet.core.task import Task
from fleet.gate.policy import SUBMODULE, SYMLINK, Rules, Ruling, rule
from fleet.repo.merge import Change

FILE = "100644"
EVIL = (
    ".claude/settings.json", ".claude/settings.local.json", "pkg/.claude/commands/x.md",
    ".mcp.json", ".codex/config.toml", ".gemini/settings.json", ".qwen/settings.json",
    "opencode.json", ".opencode/plugin/x.ts", "AGENTS.md", "docs/AGENTS.md", "CLAUDE.md",
    "GEMINI.md", ".cursor/rules/x.mdc", ".cursorrules", ".vscode/tasks.json", "x.code-workspace",
    ".idea/x.xml", ".devcontainer/devcontainer.json", ".envrc", "sub/.envrc",
    ".pre-commit-config.yaml",
    ".husky/pre-commit", ".gitattributes", "a/.gitattributes", ".gitmodules", ".lfsconfig",
    ".worktreeinclude", ".github/workflows/x.yml", ".Claude/settings.json", ".VSCODE/tasks.json",
)  # fmt: skip


def a_change(path: str, mode: str = FILE, status: str = "A", size: int = 1) -> Change:
    return Change(path=path, status=status, mode="" if status == "D" else mode, size=size)


def ruling(*changes: Change, task: Task | None = None, **more: dict[str, str]) -> Ruling:
    rules = Rules(protected=(*PROTECTED, *STEERING), restore=True, max_file_bytes=100_000_000)
    links = more.get("links", {})
    return rule(changes, task or Task(id="t", prompt="x"), rules, links=links)


@pytest.mark.parametrize("status", ["A", "M", "D"])
@pytest.mark.parametrize("path", EVIL)
def test_what_steers_tools_and_agents_is_taken_back_unasked(path: str, status: str) -> None:
    got = ruling(a_change(path, status=status), a_change("good.py"))
    assert (got.restore, got.refusals) == ((path,), ())
    assert path in got.touched


@pytest.mark.parametrize("path", EVIL)
def test_a_task_that_names_it_may_change_it(path: str) -> None:
    task = Task(id="t", prompt="x", paths=(path,))
    assert ruling(a_change(path), task=task).restore == ()


@pytest.mark.parametrize("path", [".claude", ".vscode", "tasks", ".github", ".codex"])
def test_nor_does_a_link_in_place_of_such_a_folder_land(path: str) -> None:
    got = ruling(a_change(path, SYMLINK), links={path: "elsewhere"})
    assert got.restore == (path,)


@pytest.mark.parametrize(
    "path", ["docs/agents.md", "src/claude.py", ".gitignore", "vscode/x", "env"]
)
def test_what_is_only_called_like_it_lands(path: str) -> None:
    got = ruling(a_change(path))
    assert (got.restore, got.refusals) == ((), ())


def test_files_that_are_small_one_by_one_may_be_too_much_together() -> None:
    many = [a_change(f"n{n}", size=99_000_000) for n in range(11)]
    assert ruling(*many[:10]).refusals == ()
    assert ruling(*many).refusals == (
        "its 11 files have 1089 MB in all; the limit is 1000 MB (10 × max_file_mb)",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (a_change("vendor/x", SUBMODULE), "submodule or a nested repository at vendor/x"),
        (a_change("l", SYMLINK), "symbolic link"),
        (a_change(".git./x"), "a path git itself uses"),
        (a_change("a\nb"), "a control character: 'a\\nb'"),
        (a_change("c:d"), "a backslash or a colon"),
        (a_change("big", size=100_000_001), "100 MB; the limit is 100 MB"),
    ],
)
def test_what_is_refused_whatever_its_tests_say(change: Change, why: str) -> None:
    (refusal,) = ruling(change).refusals
    assert why in refusal
    assert refusal.isprintable()


def test_an_odd_name_may_be_changed_deleted_or_asked_for() -> None:
    assert ruling(a_change("c:d", status="M"), a_change("a\nb", status="D")).refusals == ()
    assert ruling(a_change("c:d"), task=Task(id="t", prompt="x", paths=("c:d",))).refusals == ()
