"""The hub: a bare repository that only fleet writes to, between the user's and the agents'.

It has objects of its own (no alternates: a gc of the user's repository cannot take anything
away), no hooks, no drivers. Objects are here before the refs that name them, and some (the merges
that wait to land) never have one: `extensions.preciousObjects` makes every git refuse to prune.
Each git process costs about 2 ms, so questions are asked together where they can be.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fleet.process.command import Done
from fleet.repo import locks
from fleet.repo.git import Git, GitError, complaint

TIP = "refs/fleet/base/"  # one ref a commit taken from the user: old bases stay reachable
CLONE_S = 1800.0
HALF_WRITTEN_S = 7200.0  # longer than any git of ours may take
OBJECT_ID = re.compile(r"[0-9a-f]{40,64}")
BLOB = re.compile(rb"[0-9a-f]{40,64} blob (\d+)")  # of `cat-file --batch`
HEAD_BYTES = 200
UNPACK_LIMIT = 100  # objects, as in git: a pack for every attempt would slow down every lookup
PACK_COUNT = slice(8, 12)  # gitformat-pack(5)
# Whoever owns the user's repository: `locate` has asked git whether that is to be trusted.
UPLOAD_PACK = "--upload-pack=git -c safe.directory=* upload-pack"

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
        """Make it if it is not there. Built aside and renamed: a crash leaves nothing half done,
        and of several processes one makes it."""
        if self.path.is_dir():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path.parent / f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.path.is_dir():
                aside = self.path.with_name(f"{self.path.name}.making")
                shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
                _make(aside, source_common_dir)
                aside.rename(self.path)

    def has(self, commit: str) -> bool:
        try:
            _look_up(self.path, commit)
        except LookupError:
            return False
        return True

    def take(self, source_common_dir: Path, commit: str) -> str:
        """Bring a commit of the user's own repository, which is trusted, and keep it."""
        # Old histories have flaws that fsck minds; they are the user's, not an agent's. A pack
        # appears whole, where loose objects of a killed fetch would make `has` say yes.
        self._write(
            "-c", "transfer.fsckObjects=false", "-c", "fetch.unpackLimit=1",
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc",
            "--update-shallow", UPLOAD_PACK, str(source_common_dir), f"+{commit}:{TIP}{commit}",
        )  # fmt: skip
        return commit

    def receive(self, pack: bytes, refs: Mapping[str, str]) -> None:
        """Objects of an agent's, and then its refs, all of them or none. Every object is checked,
        and so is all it links to: a `fetch` from a bundle does not check (git 2.39)."""
        objects = int.from_bytes(pack[PACK_COUNT], "big")
        if objects < UNPACK_LIMIT:
            self.git.run("unpack-objects", "-q", "--strict", stdin=pack)
        else:
            self.git.run("index-pack", "--strict", "--fix-thin", "--stdin", stdin=pack)
        lines = "".join(f"update {name} {sha}\n" for name, sha in refs.items())
        self._write("update-ref", "--stdin", stdin=lines.encode())

    def copy_shallow(self, git_dir: Path) -> None:
        """Tell a repository that borrows our objects where their history ends."""
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(self.path / "shallow", git_dir / "shallow")

    def tree_of(self, commit: str) -> str:
        """The tree of a commit, or of a tree; asked once for each object id."""
        if OBJECT_ID.fullmatch(commit):
            return _tree_of(self.path, commit)
        return self.git.run("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").text

    def read_ref(self, ref: str) -> str | None:
        return self.git.run("rev-parse", "--verify", "--quiet", ref, check=False).text or None

    def set_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Point a ref; with `old` only if it still points there."""
        expected = () if old is None else (old,)
        return self._write("update-ref", ref, new, *expected, check=False).ok

    def tidy(self) -> None:
        """Remove the locks of processes that were killed, which nobody may have met yet, and what
        they had half written; and have a hub that an older fleet made keep its objects."""
        locks.clear(self.path)
        _drop_half_written(self.objects)
        if b"preciousobjects" not in (self.path / "config").read_bytes().lower():
            _keep_all(self.git)

    def _write(self, *args: str, stdin: bytes = b"", check: bool = True) -> Done:
        """A command that writes refs. A lock that a killed process has left is removed."""
        writer = Git(git_dir=self.path, writes_refs=True)
        done = writer.run(*args, stdin=stdin, check=False)
        if locks.in_the_way(done) is not None and locks.clear(self.path):
            done = writer.run(*args, stdin=stdin, check=False)
        if check and not done.ok:
            raise GitError(complaint(args, done))
        return done

    def restore_ref(self, ref: str, commit: str) -> bool:
        """Point a ref there again that was lost, or that git can no longer read."""
        if not self.has(commit):
            return False
        if self.set_ref(ref, commit):
            return True
        (self.path / ref).unlink(missing_ok=True)  # git writes over none that it cannot read
        return self.set_ref(ref, commit)

    def refs(self, prefix: str) -> dict[str, str]:
        listed = self.git.run("for-each-ref", "--format=%(refname) %(objectname)", prefix).text
        return {name: commit for name, _, commit in map(_pair, listed.splitlines())}

    def is_ancestor(self, older: str, newer: str) -> bool:
        if older == newer:
            return True
        args = ("merge-base", "--is-ancestor", older, newer)
        done = self.git.run(*args, check=False)
        if done.code not in (0, 1):  # a commit that is not there is no answer
            raise GitError(complaint(args, done))
        return done.ok

    def first_parents(self, tip: str, until: str) -> tuple[str, ...]:
        """Commits of the first-parent line from `tip` back to `until`, newest first."""
        return tuple(self.git.run("rev-list", "--first-parent", tip, f"^{until}").text.split())

    def read_file(self, tree: str, path: str) -> bytes | None:
        done = self.git.run("cat-file", "blob", f"{tree}:{path}", check=False)
        return done.out if done.ok else None

    def read_files(self, tree: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Many small files, those of them that are there, by one process."""
        if not paths:
            return {}
        asked = {path: os.fsencode(f"{tree}:{path}") for path in paths}
        stdin = b"".join(name + b"\0" for name in asked.values())
        out = self.git.run("cat-file", "--batch", "-z", stdin=stdin).out
        found, at = {}, 0
        for path, name in asked.items():
            missing = name + b" missing\n"
            if out.startswith(missing, at):
                at += len(missing)
                continue
            head, _, _ = out[at : at + HEAD_BYTES].partition(b"\n")
            if not (match := BLOB.fullmatch(head)):
                raise GitError(f"{path!r} of {tree} cannot be read as a file")
            begin = at + len(head) + 1
            at = begin + int(match[1]) + 1
            found[path] = out[begin : at - 1]
        return found

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


def _drop_half_written(objects: Path) -> None:
    """A git writes an object or a pack aside, and renames it: what is old will not be finished."""
    before = time.time() - HALF_WRITTEN_S
    for half in (*objects.glob("??/tmp_obj_*"), *objects.glob("pack/tmp_*")):
        with contextlib.suppress(OSError):
            if half.lstat().st_mtime < before:
                half.unlink()


@lru_cache(maxsize=4096)
def _look_up(path: Path, commit: str) -> None:
    """Only finds are remembered: what the hub has it keeps."""
    if not Git(git_dir=path).run("cat-file", "-e", f"{commit}^{{commit}}", check=False).ok:
        raise LookupError(commit)


@lru_cache(maxsize=4096)
def _tree_of(path: Path, commit: str) -> str:
    git = Git(git_dir=path)
    return git.run("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").text


def _make(at: Path, source_common_dir: Path) -> None:
    """A bare clone by hard links: as quick for a big repository as for a small one."""
    Git(git_dir=at).run(
        "-c", "safe.directory=*", "-c", "transfer.fsckObjects=false",
        "clone", "--quiet", "--bare", "--no-tags", "--template=", "--dissociate", UPLOAD_PACK,
        str(source_common_dir), str(at), timeout_s=CLONE_S,
    )  # fmt: skip
    git = Git(git_dir=at)
    git.run("config", "--remove-section", "remote.origin")
    git.run("config", "gc.auto", "0")
    git.run("config", "gc.pruneExpire", "never")
    _keep_all(git)
    # Named, so that later fetches know what is here; not as branches, which are the user's.
    packed = at / "packed-refs"
    if packed.exists():
        packed.write_bytes(packed.read_bytes().replace(b" refs/heads/", b" refs/fleet/base/heads/"))
    (at / "info").mkdir(exist_ok=True)
    (at / "info" / "exclude").write_bytes(EXCLUDED.encode() + _users_excludes(source_common_dir))
    (at / "info" / "attributes").write_text("")


def _keep_all(git: Git) -> None:
    git.run("config", "core.repositoryFormatVersion", "1")
    git.run("config", "extensions.preciousObjects", "true")


def _pair(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _users_excludes(common_dir: Path) -> bytes:
    try:
        return (common_dir / "info" / "exclude").read_bytes()
    except OSError:
        return b""
