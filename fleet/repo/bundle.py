"""Carrying an agent's commits into the hub, in a bundle.

The bundle is made by a git whose directory, refs and configuration are ours, and whose objects are
a link to the agent's, after `agentgit.read` has looked at them. It runs with the agent's HOME and
temporary folder. A file between the two can be measured before it is let in; then the hub checks
every object, and that nothing is missing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.process.command import Done
from fleet.repo.agentgit import MAX_REFS, Found
from fleet.repo.git import Git, GitError, complaint
from fleet.repo.hub import Hub
from fleet.repo.survey import Limits

BUNDLE_S = 120.0
PASSED_ON = ("PATH", "HOME", "TMPDIR")  # of the agent's environment
NAME_CHARACTERS = 80
PACKER_DIED = b"pack-objects died"  # also because of what it was to pack
# Indexes over objects that an agent wrote may lie about them.
BELIEVE_OBJECTS_ONLY = (
    *("-c", "core.commitGraph=false"),
    *("-c", "core.multiPackIndex=false"),
    *("-c", "pack.useBitmaps=false"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What is to be in the hub, and under which names."""

    refs: Mapping[str, str]
    head_ref: str
    past: frozenset[str]  # named only where no ref reaches them
    salvage_prefix: str


def pack(found: Found, *, base: str, ref: str, salvage_prefix: str) -> Shipment:
    """HEAD goes to `ref`, everything else under the salvage prefix, by names that cannot clash:
    what an agent calls its branches is its own business, and nothing salvaged is overwritten."""
    refs = {
        salvaged(salvage_prefix, name, sha): sha
        for name, sha in found.others.items()
        if sha not in (base, found.head)
    }
    if found.head and found.head != base:
        refs[ref] = found.head
    past = found.past - {base, *refs.values()}
    return Shipment(refs=refs, head_ref=ref, past=past, salvage_prefix=salvage_prefix)


def salvaged(prefix: str, name: str, sha: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", name.removeprefix("refs/"))[-NAME_CHARACTERS:]
    return f"{prefix}{plain}.{sha[:12]}"


def carry(
    hub: Hub,
    git_dir: Path,
    shipment: Shipment,
    *,
    base: str,
    scratch: Path,
    agent_env: Mapping[str, str],
    limits: Limits,
) -> str:
    """Bring a shipment into the hub; "" or why it could not be."""
    if not shipment.refs and not shipment.past:
        return ""  # it made no commits: nothing to run
    view = _View(scratch / "view.git", git_dir / "objects", hub, agent_env)
    named = {**shipment.refs, **view.lost(shipment, base)}
    if not named:
        return ""
    if view.holds_more_than(limits.file, named, base):
        return f"its commits hold a file of more than {limits.file / 1e6:.1f} MB (max_file_mb)"
    made = view.bundle(named, base)
    problem = ""
    if not made.ok and (there := view.present(named)) != named:
        made = view.bundle(there, base)  # one ref to a missing object fails all of them
        if shipment.head_ref in named and shipment.head_ref not in there:
            problem = "its HEAD is a commit that its repository does not have"
    if not made.ok:
        if b"empty bundle" in made.err:
            return problem  # it names only commits the hub has
        return f"its commits could not be read: {complaint(('bundle',), made)}"
    size = view.file.stat().st_size
    if size > limits.total:
        return f"its commits take {size / 1e6:.1f} MB; the limit is {limits.total / 1e6:.1f} MB"
    refs, pack = _open(view.file.read_bytes())
    try:
        hub.receive(pack, refs)
    except GitError as error:
        return f"its commits could not be taken: {error}"
    return problem


def _open(bundle: bytes) -> tuple[dict[str, str], bytes]:
    """The refs in a bundle's header, and its pack: gitformat-bundle(5)."""
    header, _, pack = bundle.partition(b"\n\n")
    lines = (line.partition(" ") for line in header.decode().splitlines())
    return {name: sha for sha, _, name in lines if name.startswith("refs/fleet/")}, pack


class _View:
    """A bare repository written by hand: our configuration and refs over the agent's objects."""

    def __init__(self, at: Path, objects: Path, hub: Hub, agent_env: Mapping[str, str]) -> None:
        shutil.rmtree(at, ignore_errors=True)
        (at / "refs").mkdir(parents=True)
        (at / "HEAD").write_text("ref: refs/heads/none\n")
        (at / "config").write_bytes((hub.path / "config").read_bytes())
        (at / "objects").symlink_to(objects)
        hub.copy_shallow(at)
        self.file = at / "work.bundle"  # in a folder made anew: no lock of a killed git
        self._at = at
        self._env = {name: agent_env[name] for name in PASSED_ON if name in agent_env}

    def bundle(self, refs: Mapping[str, str], base: str) -> Done:
        lines = (f"{sha} {name}\n" for name, sha in sorted(refs.items()))
        (self._at / "packed-refs").write_text("".join(lines))
        args = ("bundle", "create", "--quiet", str(self.file), "--all", "--not", base)
        done = self._run(*args)
        lock = self.file.with_name(f"{self.file.name}.lock")
        if not done.ok and (lock.exists() or PACKER_DIED in done.err):
            # It, or a child of its, was killed: it was the only git here.
            lock.unlink(missing_ok=True)
            done = self._run(*args)
        return done

    def holds_more_than(self, size: int, refs: Mapping[str, str], base: str) -> bool:
        """Whether one file does, in any of the commits. Asked of the objects' headers: packed,
        terabytes of nothing are small, and take hours to be looked at."""
        asked = "".join(f"{word}\n" for word in (*refs.values(), f"^{base}")).encode()
        wanted = ("--objects", f"--filter=blob:limit={size + 1}", "--filter-print-omitted")
        return (
            b"~" in self._run("rev-list", *wanted, "--no-object-names", "--stdin", stdin=asked).out
        )

    def present(self, refs: Mapping[str, str]) -> dict[str, str]:
        asked = "".join(f"{sha}\n" for sha in refs.values()).encode()
        said = self._run("cat-file", "--batch-check=%(objectname)", stdin=asked).text.splitlines()
        return {name: sha for name, sha in refs.items() if sha in said}

    def lost(self, shipment: Shipment, base: str) -> dict[str, str]:
        """What was amended or reset away, the newest of it. Most reflogs are a line that HEAD
        contains: no names."""
        if not shipment.past:
            return {}
        kept = (f"^{sha}" for sha in (base, *shipment.refs.values()))
        asked = "".join(f"{word}\n" for word in (*shipment.past, *kept))
        listed = self._run("rev-list", "--ignore-missing", "--stdin", stdin=asked.encode())
        lost = [sha for sha in listed.text.split() if sha in shipment.past][:MAX_REFS]
        return {salvaged(shipment.salvage_prefix, "past", sha): sha for sha in lost}

    def _run(self, *args: str, stdin: bytes = b"") -> Done:
        return Git(git_dir=self._at).run(
            *BELIEVE_OBJECTS_ONLY, *args, stdin=stdin, env=self._env, timeout_s=BUNDLE_S,
            check=False,
        )  # fmt: skip
