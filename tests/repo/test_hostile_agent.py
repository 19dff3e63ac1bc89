"""An agent that plants things in its workspace for fleet's own git to trip over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.repo.weight import excess
from tests.repo.scene import Attempt, Scene, a_repository, commit, git, make_tree, write

HOOKS = ("pre-commit", "post-index-change", "reference-transaction", "post-checkout", "pre-push")


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Exists once a planted program has run."""
    return tmp_path / "ran"


@pytest.fixture
def trap(tmp_path: Path, ran: Path) -> Path:
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\necho $0 $* >> {ran}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def private(tmp_path: Path) -> tuple[Path, str]:
    """A repository the agent has no business with, and its commit."""
    top = a_repository(tmp_path / "private", {"secret": "SECRET"})
    return top / ".git", git(top, "rev-parse", "HEAD")


def test_filters_hooks_and_drivers_of_its_own_never_run(
    scene: Scene, trap: Path, ran: Path
) -> None:
    attempt = scene.attempt()
    write(attempt.work, {".gitattributes": "* filter=x diff=x merge=x\n", "one": "1"})
    commit(attempt.work)
    write(attempt.work, {"two": "2", "a.txt": "changed\n"})
    for key in (
        *("filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv"),
        *("diff.x.command", "merge.x.driver", "diff.external", "core.fsmonitor", "core.pager"),
        *("pager.bundle", "core.sshCommand", "core.editor", "core.alternateRefsCommand"),
        *("uploadpack.packObjectsHook", "gpg.program", "credential.helper"),
    ):
        git(attempt.work, "config", key, str(trap))
    git(attempt.work, "config", "filter.x.required", "true")
    for hook in HOOKS:
        write(attempt.work, {f".git/hooks/{hook}": trap.read_text()})
        (attempt.work / ".git/hooks" / hook).chmod(0o755)
    git(attempt.work, "status", check=False)
    assert ran.exists()  # the traps work
    ran.unlink()
    got = attempt.harvest()
    assert {"one", "two"} < set(scene.hub.list_files(got.head))
    assert not ran.exists()


def test_a_missing_object_is_not_fetched_by_a_program_it_names(
    scene: Scene, trap: Path, ran: Path
) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "quite unlike anything in the hub"})
    blob = git(attempt.work, "rev-parse", "HEAD:one")
    (attempt.work / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in (
        ("protocol.ext.allow", "always"),
        ("remote.o.url", f"ext::{trap}"),
        ("remote.o.promisor", "true"),
        ("extensions.partialClone", "o"),
        ("core.repositoryFormatVersion", "1"),
    ):
        git(attempt.work, "config", key, value)
    git(attempt.work, "cat-file", "-p", blob, check=False)
    assert ran.exists()
    ran.unlink()
    assert "its commits could not be read" in attempt.harvest().problem
    assert not ran.exists()


def test_git_does_not_look_into_repositories_inside_it(scene: Scene, trap: Path, ran: Path) -> None:
    attempt = scene.attempt()
    nested = attempt.work / "nested"
    write(nested, {"file": "x", ".gitattributes": "* filter=x\n"})
    git(nested, "init", "--quiet")
    commit(nested)
    commit(attempt.work)
    git(nested, "config", "filter.x.clean", str(trap))
    git(nested, "config", "core.fsmonitor", str(trap))
    os.utime(nested / "file", (1, 1))
    git(attempt.work, "add", "--all")
    assert ran.exists()
    ran.unlink()
    write(attempt.work, {"good": "g"})
    got = attempt.harvest()
    assert scene.hub.read_file(got.head, "good") == b"g"
    assert not ran.exists()


def _by_alternates(attempt: Attempt, private: Path, secret: str) -> None:
    with (attempt.work / ".git/objects/info/alternates").open("a") as file:
        file.write(f"{private}/objects\n")
    git(attempt.work, "update-ref", "refs/heads/steal", secret)


def _by_a_link_for_alternates(attempt: Attempt, private: Path, secret: str) -> None:
    alternates = attempt.work / ".git/objects/info/alternates"
    alternates.unlink()
    alternates.symlink_to(attempt.root / "list")
    write(attempt.root, {"list": f"{attempt.scene.hub.objects}\n{private}/objects\n"})
    git(attempt.work, "update-ref", "refs/heads/steal", secret)


def _by_alternates_with_a_long_tail(attempt: Attempt, private: Path, secret: str) -> None:
    with (attempt.work / ".git/objects/info/alternates").open("a") as file:
        file.write(f"{private}/objects\n" + "\n" * 5_000_000)
    git(attempt.work, "update-ref", "refs/heads/steal", secret)


def _by_a_linked_info(attempt: Attempt, private: Path, secret: str) -> None:
    shutil.move(attempt.work / ".git/objects/info", attempt.root / "info")
    (attempt.work / ".git/objects/info").symlink_to(attempt.root / "info")
    _by_alternates(attempt, private, secret)


def _by_a_linked_pack(attempt: Attempt, private: Path, secret: str) -> None:
    git(private, "repack", "--quiet", "-a", "-d")
    shutil.rmtree(attempt.work / ".git/objects/pack")
    (attempt.work / ".git/objects/pack").symlink_to(private / "objects/pack")
    git(attempt.work, "update-ref", "refs/heads/steal", secret)


def _by_a_linked_object(attempt: Attempt, private: Path, secret: str) -> None:
    for path in (private / "objects").glob("??/*"):
        target = attempt.work / ".git/objects" / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(path)
    git(attempt.work, "update-ref", "refs/heads/steal", secret)


def _by_a_linked_store(attempt: Attempt, private: Path, secret: str) -> None:
    shutil.rmtree(attempt.work / ".git/objects")
    (attempt.work / ".git/objects").symlink_to(private / "objects")
    write(attempt.work, {".git/refs/heads/steal": secret + "\n"})


def _by_commondir(attempt: Attempt, private: Path, secret: str) -> None:
    write(attempt.work, {".git/commondir": f"{private}\n"})
    write(attempt.work, {".git/HEAD": secret + "\n"})


def _by_a_gitfile(attempt: Attempt, private: Path, secret: str) -> None:
    shutil.rmtree(attempt.work / ".git")
    write(attempt.work, {".git": f"gitdir: {private}\n"})


def _by_a_link(attempt: Attempt, private: Path, secret: str) -> None:
    shutil.rmtree(attempt.work / ".git")
    (attempt.work / ".git").symlink_to(private)


@pytest.mark.parametrize(
    "steal",
    [
        _by_alternates,
        _by_a_link_for_alternates,
        _by_alternates_with_a_long_tail,
        _by_a_linked_info,
        _by_a_linked_pack,
        _by_a_linked_object,
        _by_a_linked_store,
        _by_commondir,
        _by_a_gitfile,
        _by_a_link,
    ],
)
def test_another_repository_is_not_read_for_it(
    scene: Scene,
    private: tuple[Path, str],
    steal: Callable[[Attempt, Path, str], None],
) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    steal(attempt, *private)
    write(attempt.work, {"two": "2"})
    got = attempt.harvest()
    assert got.problem
    assert not scene.hub.has(private[1])
    assert {"one", "two"} < set(scene.hub.list_files(got.head))  # its files are its own


def test_pipes_and_links_in_its_git_directory_do_not_hold_us_up(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"one": "1"})
    for name in ("HEAD", "packed-refs", "refs/heads/pipe", "logs/HEAD", "config", "index"):
        path = attempt.work / ".git" / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    (attempt.work / ".git/refs/heads/link").symlink_to("/etc/passwd")
    got = attempt.harvest()
    assert (got.changed, got.problem) == (True, "")


@pytest.mark.parametrize("name", ["info/alternates", "info/packs", "pack/pack-1.idx", "aa/bb"])
def test_nor_do_pipes_among_its_objects(scene: Scene, name: str) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    path = attempt.work / ".git/objects" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    got = attempt.harvest()
    assert "its commits could not be taken" in got.problem
    assert scene.hub.read_file(got.head, "one") == b"1"


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "link to itself"])
def test_whatever_it_puts_in_place_of_its_git_directory_its_files_are_taken(
    scene: Scene, kind: str
) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"one": "1"})
    place = attempt.work / ".git"
    shutil.rmtree(place)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        (place / "objects").mkdir(parents=True)
    elif kind == "link to itself":
        place.symlink_to(place)
    got = attempt.harvest()
    assert scene.hub.list_files(got.head) == ("a.txt", "one", "sub/b.txt")


def test_grafts_replacements_and_a_worktree_elsewhere_change_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    commit(scene.top, {"a.txt": "second\n"})
    attempt = scene.attempt()
    parent = git(attempt.work, "rev-parse", "HEAD^")
    head = commit(attempt.work, {"one": "1"})
    other = commit(attempt.work, {"one": "other"})
    git(attempt.work, "reset", "--quiet", "--hard", head)
    git(attempt.work, "replace", head, other)
    write(attempt.work, {".git/info/grafts": f"{head} {parent}\n", ".git/shallow": f"{head}\n"})
    write(tmp_path / "elsewhere", {"secret": "SECRET"})
    config = f"[core]\n\tworktree = {tmp_path}/elsewhere\n[include]\n\tpath = /etc/passwd\n"
    write(attempt.work, {".git/config": config, ".git/config.worktree": config})
    got = attempt.harvest()
    assert (got.head, got.problem) == (head, "")
    assert scene.hub.read_file(got.head, "one") == b"1"
    assert git(scene.hub.path, "rev-parse", f"{head}^") == attempt.base
    assert attempt.salvaged() == {other}


def test_a_tree_bomb_is_neither_unfolded_nor_lost(scene: Scene) -> None:
    attempt = scene.attempt()
    blob = git(attempt.work, "rev-parse", "HEAD:a.txt")
    entries = "".join(f"100644 blob {blob}\tf{n}\n" for n in range(10))
    for _ in range(12):  # 10^13 paths in 13 objects
        tree = make_tree(attempt.work, entries)
        entries = "".join(f"040000 tree {tree}\td{n}\n" for n in range(10))
    bomb = git(attempt.work, "commit-tree", tree, "-p", "HEAD", "-m", "bomb")
    git(attempt.work, "update-ref", "HEAD", bomb)
    write(attempt.work, {"good": "g"})
    got = attempt.harvest()
    assert "it changes 1000000000000 paths; the most that is taken is 200000" in got.problem
    assert attempt.salvaged() == {bomb}
    assert scene.hub.list_files(got.head) == ("a.txt", "good", "sub/b.txt")


def test_a_bomb_of_folders_that_were_there_is_one_too(scene: Scene) -> None:
    commit(scene.top, {f"many/{n}/{m}": "x" for n in range(30) for m in range(10)})
    attempt = scene.attempt()
    known = git(attempt.work, "rev-parse", "HEAD:many")
    entries = f"040000 tree {known}\tmany\n"  # where it was, it counts for nothing
    for _ in range(3):
        tree = make_tree(attempt.work, entries)
        entries = "".join(f"040000 tree {tree}\td{n}\n" for n in range(10))
        entries += f"040000 tree {known}\tmany\n"
    tree = make_tree(attempt.work, entries)
    bomb = git(attempt.work, "commit-tree", tree, "-p", "HEAD", "-m", "bomb")
    assert excess(scene.hub, attempt.base, attempt.base) == ""
    git(attempt.work, "update-ref", "HEAD", bomb)
    assert "it changes 333000 paths" in attempt.harvest().problem


def test_folders_in_folders_without_end_are_refused(scene: Scene) -> None:
    attempt = scene.attempt()
    blob = git(attempt.work, "rev-parse", "HEAD:a.txt")
    path = "d/" * 201 + "f"
    git(attempt.work, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    git(attempt.work, "commit", "--quiet", "--message", "deep")
    assert "nested more than 200 deep" in attempt.harvest().problem


def test_what_it_amended_away_is_kept_up_to_a_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.repo.bundle.MAX_REFS", 20)
    attempt = scene.attempt()
    for number in range(25):
        git(attempt.work, "commit", "--quiet", "--allow-empty", "--amend", "-m", f"{number}")
    git(attempt.work, "reset", "--quiet", "--hard", attempt.base)
    assert attempt.harvest().problem == ""
    assert len(attempt.salvaged()) == 20


def test_a_flood_of_refs_is_a_problem(scene: Scene) -> None:
    attempt = scene.attempt()
    lines = "".join(f"{attempt.base} refs/heads/n{n}\n" for n in range(1001))
    write(attempt.work, {".git/packed-refs": lines})
    assert "the most that is taken is 1000" in attempt.harvest().problem


def test_a_flood_of_files_for_refs_is_one_too(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {f".git/refs/heads/n{n}": "" for n in range(2001)})
    assert "its refs are more than 1000" in attempt.harvest().problem


def test_a_workspace_that_is_a_link_by_now_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    attempt = scene.attempt()
    write(tmp_path / "elsewhere", {"secret": "SECRET"})
    shutil.rmtree(attempt.work)
    attempt.work.symlink_to(tmp_path / "elsewhere")
    got = attempt.harvest()
    assert (got.head, got.changed) == (attempt.base, False)
    assert "gone" in got.problem


MALFORMED = {
    "git": b".git",
    "case": b".GIT",
    "short": b"git~1",
    "space": b".git ",
    "invisible": ".g\u200cit".encode(),
    "stream": b".git::$INDEX_ALLOCATION",
    "backslash": b"a\\.git\\x",
    "up": b"..",
    "slash": b"a/b",
    "empty": b"",
}


@pytest.mark.parametrize("name", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_object_is_refused_by_the_hub(scene: Scene, name: bytes) -> None:
    attempt = scene.attempt()
    blob = git(attempt.work, "rev-parse", "HEAD:a.txt")
    (scene.folder / "entries").write_bytes(b"100644 " + name + b"\0" + bytes.fromhex(blob))
    tree = git(
        attempt.work, "hash-object", "-t", "tree", "--literally", "-w",
        str(scene.folder / "entries"),
    )  # fmt: skip
    made = git(attempt.work, "commit-tree", tree, "-p", "HEAD", "-m", "evil")
    git(attempt.work, "update-ref", "HEAD", made)
    got = attempt.harvest()
    assert "its commits could not be" in got.problem
    assert not scene.hub.read_ref(attempt.ref)


@pytest.mark.parametrize(
    "line", ["update = !touch /tmp/x", "url = -u./payload", "path = -x", "url = ext::touch /tmp/x"]
)
def test_submodules_that_run_something_are_refused_by_the_hub(scene: Scene, line: str) -> None:
    attempt = scene.attempt()
    text = f'[submodule "s"]\n\tpath = s\n\turl = https://example.org/s\n\t{line}\n'
    commit(attempt.work, {".gitmodules": text})
    got = attempt.harvest()
    taken = scene.hub.read_ref(attempt.ref)
    assert got.problem or line.startswith("url = ext")  # which git refuses to use, and policy
    assert got.problem == "" or taken is None or taken == got.head
