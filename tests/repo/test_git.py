from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.repo.git import Git, GitError, locate, require_version
from tests.repo.scene import a_repository, git


def test_a_checkout_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "a repo")
    places = locate(top / "sub")
    assert places.top == top
    assert places.git_dir == places.common_dir == top / ".git"


def test_checkouts_of_one_repository_share_the_common_directory(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    git(top, "worktree", "add", "--quiet", "-b", "other", "../other")
    places = locate(tmp_path / "other")
    assert places.top == tmp_path / "other"
    assert places.common_dir == top / ".git"
    assert places.git_dir == top / ".git/worktrees/other"


def test_a_bare_repository_has_no_checkout(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    places = locate(tmp_path / "bare.git")
    assert places.top is None
    assert places.common_dir == tmp_path / "bare.git"


def test_no_repository_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"is in no git repository: .*git init"):
        locate(tmp_path)


def test_a_folder_that_is_not_there_is_not_taken_for_a_missing_git(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no folder"):
        locate(tmp_path / "nowhere")


def test_without_git_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for ask in (require_version, lambda: locate(tmp_path)):
        with pytest.raises(FleetError, match="git is not installed"):
            ask()


def test_an_old_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.37.9\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(FleetError, match=r"2\.37\.9 is too old: fleet needs git 2\.38"):
        require_version()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_the_user_marked_as_safe_is_accepted(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    for path in (top, *top.rglob("*")):
        os.chown(path, 1000, 1000, follow_symlinks=False)
    with pytest.raises(FleetError, match=r"safe\.directory"):
        locate(top)
    git(tmp_path, "config", "--global", "safe.directory", str(top))
    assert locate(top).top == top


def test_nothing_of_the_users_configuration_runs(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    ran = tmp_path / "ran"
    hook = top / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    git(tmp_path, "config", "--global", "core.hooksPath", str(hook.parent))
    git(top, "update-ref", "refs/heads/x", "HEAD")
    assert ran.exists()
    ran.unlink()
    Git(git_dir=top / ".git").run("update-ref", "refs/heads/y", "HEAD")
    Git(git_dir=top / ".git", work_tree=top, as_user=True).run("update-ref", "refs/heads/z", "HEAD")
    assert not ran.exists()


def test_an_inherited_git_environment_does_not_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, other = a_repository(tmp_path / "repo"), a_repository(tmp_path / "other")
    tip = git(top, "rev-parse", "HEAD")
    git(other, "branch", "only-here")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert locate(top).git_dir == top / ".git"
    listed = Git(git_dir=top / ".git").run("for-each-ref").text
    assert listed == f"{tip} commit\trefs/heads/main"


def test_a_failure_names_the_command_and_what_git_said(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    with pytest.raises(GitError, match=r"^git rev-parse: fatal: "):
        Git(git_dir=top / ".git").run("rev-parse", "--verify", "no-such-thing")


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    lock = top / ".git/refs/heads/x.lock"
    lock.touch()
    timer = threading.Timer(0.08, lock.unlink)
    timer.start()
    Git(git_dir=top / ".git").run("update-ref", "refs/heads/x", "HEAD")
    timer.join()
    assert git(top, "rev-parse", "x") == git(top, "rev-parse", "main")


def test_a_lock_that_stays_is_an_error_and_is_left_alone(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    lock = top / ".git/refs/heads/x.lock"
    lock.touch()
    began = time.monotonic()
    with pytest.raises(GitError, match="update-ref"):
        Git(git_dir=top / ".git").run("update-ref", "refs/heads/x", "HEAD")
    assert 0.1 < time.monotonic() - began < 3
    assert lock.exists()


def test_other_failures_are_not_tried_again(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    count = tmp_path / "count"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho x >> {count}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{wrapper.parent}:{before}"
    try:
        assert not Git(git_dir=top / ".git").run("cat-file", "-e", "nope", check=False).ok
    finally:
        os.environ["PATH"] = before
    assert count.read_text() == "x\n"
