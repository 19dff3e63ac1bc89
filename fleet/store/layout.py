"""Where everything lives. The only module that knows a path of ours.

State is in `<git-common-dir>/fleet` (0700): all checkouts of one repository share one fleet,
and no `git clean` can remove it. Workspaces lie outside the repository, so that no tool picks
up a parent folder's configuration.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import fleet
from fleet.core.attempt import attempt_key
from fleet.core.errors import FleetError
from fleet.core.task import TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names only; `prepare` makes the folders."""

    common_dir: Path  # the user's git directory, shared by its worktrees
    top: Path  # the user's checkout, where fleet.toml and tasks/ are
    cache: Path  # where workspaces go

    @property
    def state(self) -> Path:
        return self.common_dir / "fleet"

    @property
    def database(self) -> Path:
        return self.state / "state.db"

    @property
    def database_lock(self) -> Path:
        """Shared by all who may write to the database; had alone by who replaces it."""
        return self.state / "state.lock"

    @property
    def mending_lock(self) -> Path:
        """Held while a database is made, brought to a newer schema, or replaced."""
        return self.state / "mending.lock"

    def damaged(self, number: int, suffix: str = "") -> Path:
        """Where a damaged database was moved to; `suffix` as in "-wal"."""
        return self.state / f"state.db.damaged-{number}{suffix}"

    def before_schema(self, schema: int) -> Path:
        """The database as it was before it was brought to this schema."""
        return self.state / f"state.db.before-schema-{schema}"

    @property
    def calls_database(self) -> Path:
        return self.state / "calls.db"

    @property
    def hub(self) -> Path:
        return self.state / "hub.git"

    @property
    def coordinator_lock(self) -> Path:
        return self.state / "coordinator.lock"

    @property
    def lander_lock(self) -> Path:
        return self.state / "lander.lock"

    @property
    def proxy_lock(self) -> Path:
        return self.state / "proxy.lock"

    @property
    def proxy_file(self) -> Path:
        """Where the proxy listens."""
        return self.state / "proxy.json"

    @property
    def proxy_socket(self) -> Path:
        """Where the proxy listens for those in a network of their own; alone in its folder, which
        is all that they are shown."""
        return self.state / "doors" / "proxy.sock"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def worker_lock(self, worker: str) -> Path:
        return self.state / "workers" / f"{worker}.lock"

    def worker_locks(self) -> list[Path]:
        """Of every worker that ever was."""
        return sorted((self.state / "workers").glob("*.lock"))

    def claim_lock(self, task: TaskId) -> Path:
        return self.state / "claims" / f"{task}.lock"

    def gate_slot(self, number: int) -> Path:
        return self.state / "slots" / f"gate.{number}.lock"

    @property
    def gate_first(self) -> Path:
        """Held by the lander while it waits for a slot: workers let it go first."""
        return self.state / "slots" / "first.lock"

    @property
    def setup_lock(self) -> Path:
        """Held while an environment is built."""
        return self.state / "slots" / "setup.lock"

    def base_lock(self, tree: str) -> Path:
        """Held while somebody makes the report of one base tree, so that it is made once."""
        return self.state / "slots" / f"base.{tree[:2]}.lock"

    @property
    def attempts(self) -> Path:
        return self.state / "attempts"

    def attempt(self, task: TaskId, epoch: int) -> Path:
        return self.attempts / attempt_key(task, epoch)

    def gate_report(self, task: TaskId, epoch: int) -> Path:
        return self.attempt(task, epoch) / "gate.json"

    def transcript(self, task: TaskId, epoch: int) -> Path:
        return self.attempt(task, epoch) / "transcript.log"

    def story(self, task: TaskId, epoch: int) -> Path:
        return self.attempt(task, epoch) / "story.json"

    def task_folder(self, configured: str) -> Path:
        """Where the tasks are: a folder of files, or one file. A lone `tasks.toml` is found too."""
        folder = self.top / configured
        lone = self.top / "tasks.toml"
        return lone if not folder.exists() and lone.exists() else folder

    @property
    def fleet_id(self) -> str:
        """Tells this repository's processes and workspaces from another's."""
        return hashlib.sha256(os.fsencode(self.common_dir)).hexdigest()[:12]

    @property
    def workspaces(self) -> Path:
        name = "".join(c if c.isalnum() else "-" for c in self.top.name.lower())[:40]
        return self.cache / f"{name or 'repository'}-{self.fleet_id}"

    def workspace(self, task: TaskId, epoch: int) -> Path:
        return self.workspaces / attempt_key(task, epoch)

    def workspace_base(self, task: TaskId, epoch: int) -> Path:
        """The commit it began with, for when the ledger cannot say."""
        return self.workspace(task, epoch) / "base"

    def mark(self, task: TaskId, epoch: int) -> str:
        """What every process of one attempt carries in its environment."""
        return f"{self.fleet_id}/{attempt_key(task, epoch)}"

    def prepare(self) -> None:
        """Make the folders, private; refuse ones that others may write."""
        for folder in (
            self.state,
            self.state / "claims",
            self.state / "workers",
            self.state / "slots",
            self.attempts,
            self.proxy_socket.parent,
            self.workspaces,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.state, self.workspaces):
            _refuse_shared(folder)


def reserve(state: Path) -> Path:
    """Room set aside in a state folder, for the last records on a full disk."""
    return state / "reserve"


def _refuse_shared(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise FleetError(f"{folder} is not a folder: move it away and try again")
    if found.st_uid != os.geteuid():
        raise FleetError(f"{folder} belongs to another user: run fleet as its owner")
    if found.st_mode & 0o022:
        raise FleetError(f"{folder} can be written by others: chmod 700 {folder}")


def shipped_agents() -> Path:
    """The profiles that come with fleet: beside the package in a checkout, inside it in a wheel."""
    package = Path(fleet.__file__).parent
    inside = package / "shipped_agents"
    return inside if inside.is_dir() else package.parent / "agents"
