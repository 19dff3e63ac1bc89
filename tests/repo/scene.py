"""A user's repository, its hub, and workspaces of attempts: real ones, in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from fleet.repo import workspace
from fleet.repo.branch import Target
from fleet.repo.harvest import Harvest, Signature, Where, harvest
from fleet.repo.hub import Hub
from fleet.repo.survey import Limits

AT = 1_700_000_000


def git(at: Path, *args: str, check: bool = True) -> str:
    """git as a person or an agent runs it, with HOME from the environment of the test."""
    done = subprocess.run(
        ["git", *args],
        cwd=at,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout.rstrip("\n")


def feed(at: Path, stdin: str, *args: str) -> str:
    """git with something to read."""
    done = subprocess.run(
        ["git", *args], cwd=at, input=stdin.encode(), check=True, capture_output=True, timeout=30
    )
    return done.stdout.decode().strip()


def make_tree(at: Path, entries: str) -> str:
    """A tree of the given entries, in the order git wants them."""
    return feed(at, entries, "mktree")


def write(at: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(at: Path, files: dict[str, str] | None = None, message: str = "work") -> str:
    write(at, files or {})
    git(at, "add", "--all")
    git(at, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(at, "rev-parse", "HEAD")


def a_repository(at: Path, files: dict[str, str] | None = None) -> Path:
    at.mkdir(parents=True)
    git(at, "init", "--quiet", "--initial-branch=main")
    commit(at, files or {"a.txt": "a\n", "sub/b.txt": "b\n"}, "first")
    return at


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One workspace, and how it is harvested."""

    scene: Scene
    root: Path
    epoch: int
    base: str

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def ref(self) -> str:
        return f"refs/fleet/attempts/t/{self.epoch}"

    @property
    def salvage(self) -> str:
        return f"refs/fleet/salvage/t/{self.epoch}/"

    def harvest(
        self,
        *,
        max_bytes: int = 10_000_000,
        max_file_bytes: int = 10_000_000,
        litter: tuple[str, ...] = (),
    ) -> Harvest:
        (self.root / "scratch").mkdir(exist_ok=True)
        index = self.root / "index"
        return harvest(
            self.scene.hub,
            Where(
                workspace=self.work,
                scratch=self.root / "scratch",
                index=index if index.exists() else None,
                ref=self.ref,
                salvage_prefix=self.salvage,
                litter=litter,
            ),
            base=self.base,
            agent_env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
            signature=Signature(message="task", name="agent", email="agent@localhost", at=AT),
            limits=Limits(file=max_file_bytes, total=max_bytes),
        )

    def salvaged(self) -> set[str]:
        return set(self.scene.hub.refs(self.salvage).values())


@dataclass(frozen=True, kw_only=True)
class Scene:
    folder: Path
    top: Path  # the user's checkout
    hub: Hub
    epochs: list[int] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(self.top / ".git", "main")

    def tip(self) -> str:
        """The user's branch, in the hub."""
        tip = git(self.top, "rev-parse", "main")
        return self.hub.take(self.top / ".git", tip)

    def attempt(self) -> Attempt:
        self.epochs.append(len(self.epochs) + 1)
        root = self.folder / f"attempt.{self.epochs[-1]}"
        root.mkdir()
        base = self.tip()
        workspace.create(
            self.hub,
            root / "work",
            base=base,
            branch=f"fleet/t.{self.epochs[-1]}",
            author_name="agent",
            author_email="agent@localhost",
            index_copy=root / "index",
        )
        return Attempt(scene=self, root=root, epoch=self.epochs[-1], base=base)

    def landing(self, files: dict[str, str]) -> str:
        """A commit on top of the user's branch, in the hub."""
        attempt = self.attempt()
        write(attempt.work, files)
        return attempt.harvest().head


def a_scene(folder: Path) -> Scene:
    top = a_repository(folder / "user")
    hub = Hub(top / ".git" / "fleet" / "hub.git")
    hub.create(top / ".git")
    return Scene(folder=folder, top=top, hub=hub)
