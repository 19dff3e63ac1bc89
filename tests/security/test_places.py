"""Ids, folders and environments: nothing leads out of where it belongs."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.config import ALWAYS_SECRET
from fleet.core.errors import FleetError
from fleet.store.layout import Layout
from fleet.store.taskfiles import wrong_id
from fleet.wiring import open_fleet
from tests.e2e.conftest import Repository, new_repository

PIECES = (
    "..", ".", "/", "\\", "a", "B", "-", "_", "0", "~", "\0", "\n", " ", "%2f", ".lock",
    "@{", "^", ":",
    "CON", "nul", "é", "İ", "ß", "\u202e", "／", "．．", "$HOME", "`id`", "*", "?", "[", "x" * 70,
)  # fmt: skip
LAYOUT = Layout(common_dir=Path("/r/.git"), top=Path("/r"), cache=Path("/c"))


def stays(id_: str) -> bool:
    """Whether all its paths are plain names in their folders."""
    places = (
        (LAYOUT.claim_lock(id_), LAYOUT.state / "claims"),
        (LAYOUT.attempt(id_, 3), LAYOUT.state / "attempts"),
        (LAYOUT.workspace(id_, 3), LAYOUT.workspaces),
    )
    return all(
        path.parent == folder and Path(os.path.normpath(path)) == path and "\0" not in str(path)
        for path, folder in places
    )


def test_ten_thousand_hostile_ids_are_refused_or_stay_where_they_belong() -> None:
    rng = random.Random(13)
    taken = 0
    for _ in range(10_000):
        id_ = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 5)))
        if not wrong_id(id_):
            taken += 1
            assert stays(id_), id_
            assert id_ == id_.lower()
            assert id_.isascii()
            assert not id_.startswith(("-", "."))
    assert taken > 50


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_whatever_text_an_id_is_it_stays_or_is_refused(id_: str) -> None:
    assert wrong_id(id_) or stays(id_)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_state_that_others_may_write_is_refused(repository: Repository) -> None:
    open_fleet(repository.path, repository.env).close()
    state = repository.path / ".git/fleet"
    assert state.stat().st_mode & 0o777 == 0o700
    for mode in (0o720, 0o702, 0o777):
        state.chmod(mode)
        with pytest.raises(FleetError, match="can be written by others"):
            open_fleet(repository.path, repository.env)


def test_state_that_is_a_link_is_refused(repository: Repository, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (repository.path / ".git/fleet").symlink_to(elsewhere)
    with pytest.raises(FleetError, match="is not a folder"):
        open_fleet(repository.path, repository.env)


NEVER = [
    *sorted(ALWAYS_SECRET), "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS", "GITHUB_TOKEN", "GH_TOKEN", "SSH_AUTH_SOCK", "DOCKER_HOST",
    "DBUS_SESSION_BUS_ADDRESS", "GIT_DIR", "GIT_SSH_COMMAND", "PYTHONPATH",
    "PYTHONSTARTUP", "LD_PRELOAD",
    "LD_LIBRARY_PATH", "NODE_OPTIONS", "NPM_TOKEN", "MY_API_KEY", "MY_SECRET",
    "BASH_ENV", "ENV", "HOME",
    "XDG_RUNTIME_DIR", "KUBECONFIG", "HTTPS_PROXY",
]  # fmt: skip


def test_an_agents_environment_is_made_of_what_is_allowed(
    repository: Repository, tmp_path: Path
) -> None:
    environ = {**repository.env, **{name: f"canary-{name}" for name in NEVER if name != "HOME"}}
    environ["HOME"] = repository.env["HOME"]
    fleet = open_fleet(repository.path, environ)
    given_ = fleet.agent_environment(tmp_path / "home", tmp_path / "tmp")
    fleet.close()
    assert not any("canary" in value for value in given_.values())
    assert set(given_) <= {
        "PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LANG",
        "LC_ALL", "TERM", "NO_COLOR", "CI", "GIT_TERMINAL_PROMPT",
    }  # fmt: skip
    assert given_["HOME"] == str(tmp_path / "home")
