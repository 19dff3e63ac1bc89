"""The hub: a bare repository that only fleet writes to, between the user's and the agents'.

It has objects of its own (no alternates: a gc of the user's repository cannot take anything
away), no hooks, no drivers, no gc. Every commit it must keep is under `refs/fleet/`. Each git
process costs about 2 ms, so questions are asked together where they can be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleet.process.command import Done
from fleet.repo.git import Git

TIP = "refs/fleet/base/"  # one ref a commit taken from the user: old bases stay reachable

EXCLUDED = """\
# what running tests leaves behind, never part of a change
__pycache__/
*.pyc
.pytest_cache/
.ruff_cache/
.mypy_cache/
.hypothesis/
"""


@dataclass(frozen=True, slots=True)
class Hub:
    path: Path

    @property
    def git(self) -> Git:
        return Git(git_dir=self.path)

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def create(self, source_common_dir: Path) -> None:
        """Make it if it is not there. Built aside and renamed: a crash leaves nothing half done."""
        if self.path.is_dir():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".hub-", dir=self.path.parent))
        try:
            git = Git(git_dir=aside)
            git.run("init", "--quiet", "--bare", "--template=", str(aside))
            (aside / "info").mkdir(exist_ok=True)
            (aside / "info" / "exclude").write_bytes(
                EXCLUDED.encode() + _users_excludes(source_common_dir)
            )
            (aside / "info" / "attributes").write_text("")
            aside.rename(self.path)
        except OSError:
            if not self.path.is_dir():  # else another process was first, which is as good
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def has(self, commit: str) -> bool:
        return self.git.run("cat-file", "-e", f"{commit}^{{commit}}", check=False).ok

    def take(self, source_common_dir: Path, commit: str) -> str:
        """Bring a commit of the user's own repository, which is trusted, and keep it."""
        # Old histories have flaws that fsck minds; they are the user's, not an agent's.
        self.git.run(
            "-c", "fetch.fsckObjects=false",
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow",
            str(source_common_dir), f"+{commit}:{TIP}{commit}",
        )  # fmt: skip
        return commit

    def tree_of(self, commit: str) -> str:
        return self.git.run("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").text

    def read_ref(self, ref: str) -> str | None:
        return self.git.run("rev-parse", "--verify", "--quiet", ref, check=False).text or None

    def set_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Point a ref; with `old` only if it still points there."""
        expected = () if old is None else (old,)
        return self.git.run("update-ref", ref, new, *expected, check=False).ok

    def refs(self, prefix: str) -> dict[str, str]:
        listed = self.git.run("for-each-ref", "--format=%(refname) %(objectname)", prefix).text
        return {name: commit for name, _, commit in map(_pair, listed.splitlines())}

    def is_ancestor(self, older: str, newer: str) -> bool:
        if older == newer:
            return True
        return self.git.run("merge-base", "--is-ancestor", older, newer, check=False).ok

    def first_parents(self, tip: str, until: str) -> tuple[str, ...]:
        """Commits of the first-parent line from `tip` back to `until`, newest first."""
        return tuple(self.git.run("rev-list", "--first-parent", tip, f"^{until}").text.split())

    def read_file(self, tree: str, path: str) -> bytes | None:
        done = self.git.run("cat-file", "blob", f"{tree}:{path}", check=False)
        return done.out if done.ok else None

    def list_files(self, tree: str) -> tuple[str, ...]:
        listed = self.git.run("ls-tree", "-r", "-z", "--name-only", tree)
        return tuple(os.fsdecode(name) for name in listed.out.split(b"\0") if name)

    def materialise(self, tree: str, into: Path) -> Done:
        """A clean checkout of a tree in an empty folder, without a `.git`: one process, and no
        shared administration that parallel checkouts could race for."""
        index = into.with_name(f"{into.name}.index")
        git = Git(git_dir=self.path, work_tree=into, index_file=index)
        try:
            return git.run("read-tree", "-m", "-u", tree)
        finally:
            index.unlink(missing_ok=True)


def _pair(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _users_excludes(common_dir: Path) -> bytes:
    try:
        return (common_dir / "info" / "exclude").read_bytes()
    except OSError:
        return b""
