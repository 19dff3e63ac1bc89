from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet.repo.git import GitError
from tests.repo.scene import AT, Scene, commit, git, write


def test_an_agent_that_does_nothing_changes_nothing(scene: Scene) -> None:
    attempt = scene.attempt()
    got = attempt.harvest()
    assert (got.head, got.changed, got.problem) == (attempt.base, False, "")
    assert scene.hub.read_ref(attempt.ref) is None


def test_commits_arrive_as_they_were_made(scene: Scene) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    head = commit(attempt.work, {"two": "2"})
    got = attempt.harvest()
    assert (got.head, got.changed, got.problem) == (head, True, "")
    assert scene.hub.read_ref(attempt.ref) == head
    assert attempt.salvaged() == set()


def test_uncommitted_work_is_committed_on_the_base(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"new/file": "n", "a.txt": "changed\n"})
    (attempt.work / "sub/b.txt").unlink()
    got = attempt.harvest()
    assert scene.hub.list_files(got.head) == ("a.txt", "new/file")
    assert scene.hub.read_file(got.head, "a.txt") == b"changed\n"
    assert git(scene.hub.path, "rev-parse", f"{got.head}^") == attempt.base
    shown = git(scene.hub.path, "show", "--no-patch", "--format=%an %at %cn %s", got.head)
    assert shown == f"agent {AT} fleet task"
    assert scene.hub.read_ref(attempt.ref) == got.head


def test_litter_stays_where_it_is_and_is_no_change(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {".aider.history.md": "h", ".aider.cache/db": "d"})
    litter = (".aider*", ".aider*/**")
    got = attempt.harvest(litter=litter)
    assert (got.head, got.changed, got.problem) == (attempt.base, False, "")
    assert (attempt.work / ".aider.cache/db").exists()
    write(attempt.work, {"sub/.aider.history.md": "not at the top"})
    got = attempt.harvest(litter=litter)
    assert scene.hub.list_files(got.head) == ("a.txt", "sub/.aider.history.md", "sub/b.txt")


def test_uncommitted_work_goes_on_top_of_commits(scene: Scene) -> None:
    attempt = scene.attempt()
    committed = commit(attempt.work, {"one": "1"})
    write(attempt.work, {"two": "2"})
    got = attempt.harvest()
    assert git(scene.hub.path, "rev-parse", f"{got.head}^") == committed
    assert {"one", "two"} < set(scene.hub.list_files(got.head))


def test_work_that_was_undone_again_is_no_change_but_is_kept(scene: Scene) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    git(attempt.work, "rm", "--quiet", "one")
    head = commit(attempt.work)
    got = attempt.harvest()
    assert (got.changed, scene.hub.read_ref(attempt.ref)) == (False, head)


def test_the_agents_own_index_does_not_matter(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"staged": "s", "a.txt": "hidden\n"})
    git(attempt.work, "add", "staged")
    git(attempt.work, "update-index", "--assume-unchanged", "a.txt")
    (attempt.work / ".git/index").write_bytes(b"rubbish")
    got = attempt.harvest()
    assert scene.hub.read_file(got.head, "a.txt") == b"hidden\n"
    assert scene.hub.read_file(got.head, "staged") == b"s"


def test_without_the_copied_index_the_result_is_the_same(scene: Scene) -> None:
    attempt = scene.attempt()
    (attempt.root / "index").unlink()
    write(attempt.work, {"new": "n"})
    got = attempt.harvest()
    assert scene.hub.list_files(got.head) == ("a.txt", "new", "sub/b.txt")


def test_a_harvest_that_was_killed_can_be_done_again(scene: Scene) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    write(attempt.work, {"two": "2"})
    scratch = attempt.root / "scratch"
    (scratch / "view.git").mkdir(parents=True)
    for name in ("index", "index.lock", "view.git/work.bundle.lock", "view.git/HEAD"):
        (scratch / name).write_text("half")
    first = attempt.harvest()
    assert first.problem == ""
    assert {"one", "two"} < set(scene.hub.list_files(first.head))
    assert attempt.harvest() == first


def test_names_modes_and_links_survive(scene: Scene) -> None:
    attempt = scene.attempt()
    names = ["with space", "new\nline", "ünïcode", "-dash", "deep/er/x"]
    write(attempt.work, dict.fromkeys(names, "text"))
    (attempt.work / "latin-\udce9").write_text("not utf-8")
    (attempt.work / "-dash").chmod(0o755)
    (attempt.work / "link").symlink_to("/etc/passwd")
    os.mkfifo(attempt.work / "pipe")
    got = attempt.harvest()
    assert got.problem == ""
    assert {*names, "latin-\udce9", "link"} < set(scene.hub.list_files(got.head))
    assert "pipe" not in scene.hub.list_files(got.head)
    assert scene.hub.read_file(got.head, "link") == b"/etc/passwd"
    assert git(scene.hub.path, "ls-tree", got.head, "--", "-dash").startswith("100755 ")


def test_other_branches_tags_and_stashes_are_salvaged(scene: Scene) -> None:
    attempt = scene.attempt()
    git(attempt.work, "checkout", "--quiet", "-b", "side")
    side = commit(attempt.work, {"side": "s"})
    git(attempt.work, "tag", "-a", "-m", "t", "marked")
    git(attempt.work, "checkout", "--quiet", "fleet/t.1")
    write(attempt.work, {"a.txt": "stashed\n"})
    git(attempt.work, "stash", "--quiet")
    stashed = git(attempt.work, "rev-parse", "stash")
    got = attempt.harvest()
    assert (got.changed, got.problem) == (False, "")
    assert {side, stashed} < attempt.salvaged()
    assert any(ref.startswith(f"{attempt.salvage}tags-marked.") for ref in _refs(scene))


def test_branch_names_that_clash_are_all_salvaged(scene: Scene) -> None:
    attempt = scene.attempt()
    made = set()
    for name in ("a+b", "a-b", "a@b", "x/y", "ünï", "work", "w.lock.x"):
        git(attempt.work, "checkout", "--quiet", "-b", name, attempt.base)
        made.add(commit(attempt.work, message=f"on {name}"))
    git(attempt.work, "update-ref", "refs/work", made.copy().pop())
    git(attempt.work, "checkout", "--quiet", "fleet/t.1")
    assert attempt.harvest().problem == ""
    assert attempt.salvaged() == made


def test_amended_and_reset_commits_are_salvaged(scene: Scene) -> None:
    attempt = scene.attempt()
    amended = commit(attempt.work, {"one": "1"}, "first try")
    git(attempt.work, "commit", "--quiet", "--amend", "-m", "second try")
    head = git(attempt.work, "rev-parse", "HEAD")
    reset = commit(attempt.work, {"two": "2"})
    git(attempt.work, "reset", "--quiet", "--hard", head)
    got = attempt.harvest()
    assert (got.head, got.problem) == (head, "")
    assert attempt.salvaged() == {amended, reset}


def test_everything_reset_away_is_still_salvaged(scene: Scene) -> None:
    attempt = scene.attempt()
    lost = commit(attempt.work, {"one": "1"})
    git(attempt.work, "reset", "--quiet", "--hard", attempt.base)
    got = attempt.harvest()
    assert (got.head, got.changed) == (attempt.base, False)
    assert attempt.salvaged() == {lost}


def test_packed_refs_a_detached_head_and_worktrees_of_its_own_are_read(scene: Scene) -> None:
    attempt = scene.attempt()
    git(attempt.work, "worktree", "add", "--quiet", "--detach", str(scene.folder / "extra"))
    extra = commit(scene.folder / "extra", {"extra": "e"})
    git(attempt.work, "checkout", "--quiet", "-b", "side")
    side = commit(attempt.work, {"side": "s"})
    git(attempt.work, "checkout", "--quiet", "--detach", attempt.base)
    head = commit(attempt.work, {"one": "1"})
    git(attempt.work, "pack-refs", "--all")
    git(attempt.work, "gc", "--quiet")
    assert attempt.harvest().head == head
    assert attempt.salvaged() == {side, extra}


@pytest.mark.parametrize("how", ["orphan", "amended base"])
def test_a_branch_without_the_base_is_salvaged_and_reported(scene: Scene, how: str) -> None:
    commit(scene.top, {"second": "2"})
    attempt = scene.attempt()
    if how == "orphan":
        git(attempt.work, "checkout", "--quiet", "--orphan", "fresh")
    else:
        git(attempt.work, "commit", "--quiet", "--amend", "--message", "mine now")
    head = commit(attempt.work, {"one": "1"})
    got = attempt.harvest()
    assert "does not contain the commit it started from" in got.problem
    assert head in attempt.salvaged()
    assert git(scene.hub.path, "rev-parse", f"{got.head}^") == attempt.base
    assert scene.hub.read_file(got.head, "one") == b"1"


def test_too_big_a_bundle_is_a_problem_not_an_exception(scene: Scene) -> None:
    attempt = scene.attempt()
    (attempt.work / "big").write_bytes(os.urandom(300_000))
    commit(attempt.work)
    got = attempt.harvest(max_bytes=100_000)
    assert "its commits take 0.3 MB; the limit is 0.1 MB" in got.problem


def test_a_big_file_in_any_commit_is_a_problem_before_it_is_packed(scene: Scene) -> None:
    commit(scene.top, {"was": "x" * 200_000})  # the user's own is no matter
    attempt = scene.attempt()
    fine = commit(attempt.work, {"small": "s"})
    assert attempt.harvest(max_file_bytes=100_000).head == fine
    attempt = scene.attempt()
    commit(attempt.work, {"big": "y" * 200_000})
    commit(attempt.work, {"big": "small by now"})
    got = attempt.harvest(max_file_bytes=100_000)
    assert got.problem == "its commits hold a file of more than 0.1 MB (max_file_mb)"
    assert scene.hub.read_file(got.head, "big") == b"small by now"


def test_many_objects_arrive_too(scene: Scene) -> None:
    attempt = scene.attempt()
    head = commit(attempt.work, {f"many/{n}": f"{n}" for n in range(150)})
    assert attempt.harvest().head == head
    assert len(scene.hub.list_files(head)) == 152


def test_a_broken_repository_is_a_problem_and_its_files_are_kept(scene: Scene) -> None:
    attempt = scene.attempt()
    commit(attempt.work, {"one": "1"})
    for path in (attempt.work / ".git/objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"rubbish")
    got = attempt.harvest()
    assert "its commits could not be" in got.problem
    assert scene.hub.read_file(got.head, "one") == b"1"


def test_a_ref_to_nothing_does_not_spoil_the_rest(scene: Scene) -> None:
    attempt = scene.attempt()
    git(attempt.work, "checkout", "--quiet", "-b", "side")
    side = commit(attempt.work, {"side": "s"})
    git(attempt.work, "checkout", "--quiet", "fleet/t.1")
    head = commit(attempt.work, {"one": "1"})
    write(attempt.work, {".git/refs/heads/dangling": "1" * 40 + "\n"})
    got = attempt.harvest()
    assert (got.head, got.problem) == (head, "")
    assert attempt.salvaged() == {side}


def test_a_repository_inside_it_is_left_for_policy_to_see(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"nested/file": "x", "good": "g"})
    git(attempt.work / "nested", "init", "--quiet")
    commit(attempt.work / "nested")
    got = attempt.harvest()
    assert git(scene.hub.path, "ls-tree", got.head, "nested").startswith("160000 ")
    assert scene.hub.read_file(got.head, "good") == b"g"


def test_a_repository_inside_it_without_commits_is_reported(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"nested/file": "x", "good": "g"})
    git(attempt.work / "nested", "init", "--quiet")
    got = attempt.harvest()
    assert "nested/' does not have a commit checked out" in got.problem
    assert scene.hub.read_file(got.head, "good") == b"g"


def test_work_that_cannot_be_named_is_never_reported_as_kept(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"new": "n"})
    scene.hub.set_ref(f"{attempt.ref}/in-the-way", attempt.base)
    with pytest.raises(GitError, match="could not be set"):
        attempt.harvest()


def test_attempts_are_harvested_side_by_side(scene: Scene) -> None:
    attempts = [scene.attempt() for _ in range(6)]
    heads = [commit(attempt.work, {"n": str(attempt.epoch)}) for attempt in attempts]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda attempt: attempt.harvest(), attempts))
    assert [harvest.head for harvest in got] == heads


def _refs(scene: Scene) -> dict[str, str]:
    return scene.hub.refs("refs/fleet/salvage/")
