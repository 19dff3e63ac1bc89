"""Running git with a neutral environment: nobody's configuration, hooks, filters or prompts.

The user's own checkouts are the exception: there their settings hold, since line endings and
filters such as LFS make the files what they are. Hooks and fsmonitor stay off everywhere.
"""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import FleetError, NoSpaceError
from fleet.process.command import NOT_FOUND, Done, run
from fleet.repo import locks

MINIMUM = (2, 38)  # merge-tree --write-tree
NO_GIT = "git is not installed, or not on PATH: fleet needs git 2.38 or newer"
FULL = (b"No space left on device", b"Disk quota exceeded")
LOCK_TRIES = 5
LOCK_NAP_S = 0.05
# Where the user's configuration is looked for.
USERS = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")

# Belt and braces: the hub has no hooks or drivers, and the user's own must not run for us.
NEUTRAL = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.protectHFS=true"),
    *("-c", "core.protectNTFS=true"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "transfer.fsckObjects=true"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "advice.detachedHead=false"),
)


class GitError(FleetError):
    """A git command of ours failed; the message has its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """git on one repository, optionally with a working tree and an index of our choosing."""

    git_dir: Path
    work_tree: Path | None = None
    index_file: Path | None = None
    as_user: bool = False  # by the user's settings; for checkouts of theirs only
    writes_refs: bool = False  # see `locks`

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        timeout_s: float = 300.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """One command; a busy lock is waited for a moment, any other failure is a `GitError`.

        A git that somebody kills is asked again. Without an answer it is a `GitError` even where
        a failure would be an answer.
        """
        argv = ("git", f"--git-dir={self.git_dir}", *NEUTRAL, *args)
        full = (users_environment if self.as_user else environment)(
            GIT_WORK_TREE=str(self.work_tree or ""),
            GIT_INDEX_FILE=str(self.index_file or ""),
            **(env or {}),
        )
        done = self._once(argv, full, stdin, timeout_s)
        for _ in range(LOCK_TRIES):
            if not done.killed and locks.in_the_way(done) is None:
                break
            if done.killed and self.index_file:  # an index of ours: it was the only git there
                self.index_file.with_name(f"{self.index_file.name}.lock").unlink(missing_ok=True)
            threading.Event().wait(LOCK_NAP_S * random.uniform(0.5, 1.5))
            done = self._once(argv, full, stdin, timeout_s)
        if not done.ok and any(words in done.err for words in FULL):
            raise NoSpaceError(f"{complaint(args, done)}: the disk is full. Make room")
        if done.killed or (check and not done.ok):
            raise GitError(complaint(args, done))
        return done

    def _once(
        self, argv: tuple[str, ...], env: Mapping[str, str], stdin: bytes, timeout_s: float
    ) -> Done:
        with locks.shared(self.git_dir) if self.writes_refs else nullcontext() as held:
            kept = () if held is None else (held,)
            return run(
                argv,
                cwd=self.work_tree or "/",
                env=env,
                stdin=stdin,
                timeout_s=timeout_s,
                pass_fds=kept,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a repository is. `top` is None in a bare one."""

    top: Path | None
    git_dir: Path  # of this checkout
    common_dir: Path  # shared by all checkouts


def environment(**extra: str) -> dict[str, str]:
    """Built from nothing: no user, no system configuration, no askpass, no lazy fetching."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_COMMITTER_NAME": "fleet",
        "GIT_COMMITTER_EMAIL": "fleet@localhost",
        "GIT_AUTHOR_NAME": "fleet",
        "GIT_AUTHOR_EMAIL": "fleet@localhost",
        **{name: value for name, value in extra.items() if value},
    }


def users_environment(**extra: str) -> dict[str, str]:
    """The same, but with the user's and the system's configuration: also who may own what."""
    own = {name: os.environ[name] for name in USERS if name in os.environ}
    hidden = ("GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ATTR_NOSYSTEM")
    neutral = environment(**{**own, **extra})
    return {name: value for name, value in neutral.items() if name in own or name not in hidden}


def complaint(args: tuple[str, ...], done: Done) -> str:
    said = done.err.decode("utf-8", "replace").strip().splitlines()
    lock = locks.in_the_way(done)
    if lock is not None:
        said = [
            f"{lock} is in the way: if no git is at work there, one was killed, and you can "
            f"remove the file"
        ]
    how = "timed out" if done.timed_out else said[-1] if said else f"exit code {done.code}"
    verb = next((word for word in args if not word.startswith("-") and "=" not in word), "")
    return f"git {verb}: {how}"


def locate(start: Path) -> Places:
    """The repository around `start`, or what to do about there being none."""
    if not start.is_dir():
        raise FleetError(f"{start} is no folder: run fleet in a git repository")
    # --show-toplevel is an error in a bare repository; --show-cdup is the way up, as text.
    args = ("--git-dir", "--git-common-dir", "--is-inside-work-tree", "--show-cdup")
    done = run(
        ("git", "rev-parse", "--path-format=absolute", *args), cwd=start, env=users_environment()
    )
    if done.code == NOT_FOUND:
        raise FleetError(NO_GIT)
    if not done.ok:
        if b"dubious ownership" in done.err:
            raise FleetError(
                f"{start} belongs to another user: run fleet as its owner, or mark it as safe with "
                f"`git config --global --add safe.directory {start}`"
            )
        raise FleetError(f"{start} is in no git repository: run fleet in one, or `git init` first")
    git_dir, common_dir, inside, *up = os.fsdecode(done.out).splitlines()
    top = (start / up[0] if up else start).resolve() if inside == "true" else None
    return Places(top=top, git_dir=Path(git_dir), common_dir=Path(common_dir))


def require_version() -> str:
    """git's version, or what to do about it being too old."""
    done = run(("git", "version"), cwd="/", env=environment())
    if done.code == NOT_FOUND:
        raise FleetError(NO_GIT)
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", done.text)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM:
        raise FleetError(
            f"{done.text} is too old: fleet needs git {MINIMUM[0]}.{MINIMUM[1]} or newer, for "
            "`merge-tree --write-tree`"
        )
    return found[0]
