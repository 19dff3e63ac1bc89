"""A9: keys are in no file of a fleet and in no process but the proxy; a token only with its bearer.

Looked for are the keys that the variables hold now, in every form a file may hold them, and the
tokens whose hashes the ledger has. Files are read as bytes, so free pages of databases and their
logs count; of the hub, which has the whole history of the user, what attempts added.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fleet.core.attempt import attempt_key
from fleet.landing.audit.breach import Breach
from fleet.landing.audit.needles import Needles
from fleet.process.table import Surroundings, surroundings
from fleet.process.tree import ATTEMPT_MARK
from fleet.wiring import Fleet

LARGEST_OBJECT = 64 << 20
AT_ONCE = 64 << 20  # bytes of the hub's objects
OVERLAP = 8192  # between two looks into one large file
PIECE = 64 << 20
_OURS = (b"fleet.worker", b"fleet.landing")


def breaches(fleet: Fleet) -> Iterator[Breach]:
    needles = _needles(fleet)
    if not needles:
        return
    for where, found in (*_in_files(fleet, needles), *_in_hub(fleet, needles)):
        yield Breach(invariant="A9", what=f"{where} holds {found}")
    for process in surroundings():
        for found in _in_process(fleet, needles, process):
            yield Breach(invariant="A9", what=f"the environment of process {process.pid} {found}")


def _needles(fleet: Fleet) -> Needles:
    names, variables = fleet.config.proxy.secret_names(), fleet.config.env.variables
    values = {name: variables[name] for name in sorted(names) if variables.get(name)}
    tokens = {
        str(hash_): attempt_key(str(task), epoch)
        for hash_, task, epoch in fleet.db.rows("SELECT hash, task, epoch FROM tokens")
        if task and isinstance(epoch, int)
    }
    return Needles.of(values, tokens)


# -- files --------------------------------------------------------------------------------------


def _in_files(fleet: Fleet, needles: Needles) -> Iterator[tuple[str, str]]:
    layout = fleet.layout
    for top in (layout.state, layout.workspaces):
        for folder, below, names in os.walk(top):
            if Path(folder) == layout.hub:
                below[:] = [name for name in below if name != "objects"]
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - a hundred thousand of them
                for data in _pieces(path):
                    yield from ((path, found) for found in needles.names_in(data))
                    for bearer in needles.bearers_in(data):
                        if not _may_hold(layout.workspaces, path, bearer):
                            yield path, f"the token of {bearer}"


def _may_hold(workspaces: Path, path: str, bearer: str) -> bool:
    """An agent's own HOME and temporary files; it may go on in those of an earlier attempt."""
    try:
        rooms, kind, *_ = Path(path).relative_to(workspaces).parts
    except ValueError:
        return False
    return kind in ("home", "tmp") and rooms.rpartition(".")[0] == bearer.rpartition(".")[0]


def _pieces(path: str) -> Iterator[bytes]:
    """A regular file, bit by bit; nothing where there is none any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return
        if found.st_size <= PIECE:
            yield os.read(fd, found.st_size)
            return
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as whole:
            for start in range(0, found.st_size, PIECE):
                yield whole[start : start + PIECE + OVERLAP]
    except (OSError, ValueError):
        return  # it was cut short under us
    finally:
        os.close(fd)


# -- what attempts added to the hub -------------------------------------------------------------


def _in_hub(fleet: Fleet, needles: Needles) -> Iterator[tuple[str, str]]:
    for batch in _batches(fleet):
        listed = "\n".join(batch).encode() + b"\n"
        data = fleet.hub.git.run("cat-file", "--batch", "--buffer", stdin=listed).out
        if any(needles.names_in(data)) or any(needles.bearers_in(data)):
            for name in batch:
                alone = fleet.hub.git.run("cat-file", "--batch", stdin=f"{name}\n".encode()).out
                what = f"object {name} of the hub"
                yield from ((what, found) for found in needles.names_in(alone))
                for bearer in needles.bearers_in(alone):
                    yield what, f"the token of {bearer}"


def _batches(fleet: Fleet) -> Iterator[list[str]]:
    """Objects that came since the first attempt began, as many at once as memory may hold."""
    first = fleet.db.one(
        "SELECT body ->> '$.commit' FROM events WHERE kind = 'running' ORDER BY seq LIMIT 1"
    ) or fleet.db.one('SELECT "commit" FROM externals ORDER BY at LIMIT 1')
    if first is None or not fleet.hub.has(str(first[0])):
        return
    made = ("--glob=refs/fleet/attempts/*", "--glob=refs/fleet/salvage/*", f"^{first[0]!s}")
    listed = fleet.hub.git.run("rev-list", "--objects", "--no-object-names", *made).out
    if not listed:
        return
    sized = fleet.hub.git.run(
        "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", "--buffer",
        stdin=listed,
    ).text  # fmt: skip
    batch: list[str] = []
    size = 0
    for line in sized.splitlines():
        name, kind, length = line.split()
        if kind == "tree" or int(length) > LARGEST_OBJECT:
            continue
        if batch and size + int(length) > AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += int(length)
    if batch:
        yield batch


# -- processes ----------------------------------------------------------------------------------


def _in_process(fleet: Fleet, needles: Needles, process: Surroundings) -> Iterator[str]:
    """Ours are agents and gates, workers and landers; the proxy has blanked its own."""
    prefix = fleet.layout.fleet_id.encode() + b"/"
    mark = process.value_of(ATTEMPT_MARK.encode()) or b""
    top = os.fsencode(fleet.layout.top)
    ours = any(name in process.command for name in _OURS) and top in process.command
    if not (mark.startswith(prefix) or ours):
        return
    environ = b"\0".join(process.environ)
    yield from (f"holds {name}" for name in needles.names_in(environ))
    own = os.fsdecode(mark.removeprefix(prefix))
    for bearer in needles.bearers_in(environ):
        if bearer != own:
            yield f"holds the token of {bearer}"
