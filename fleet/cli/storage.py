"""What `fleet doctor` says of the disk and of what is kept on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fleet.cli.opening import Seen
from fleet.core.errors import FleetError
from fleet.core.event import Kind
from fleet.recovery.opening import kept_aside
from fleet.store import events
from fleet.store.database import Database
from fleet.store.mounts import mount_of
from fleet.store.space import MB, Space, free

Finding = tuple[bool, str]


def examined(seen: Seen) -> Iterator[Finding]:
    layout = seen.layout
    mount = mount_of(layout.common_dir)
    if mount is not None:
        allowed = seen.config.fleet.network_fs or not mount.is_shared
        what = f"state is on {mount.kind} ({mount.at})"
        yield allowed, what + (": locks of other machines are not seen" if mount.is_shared else "")
    if not layout.state.is_dir() or not layout.workspaces.is_dir():
        return  # no fleet has run here yet
    space = Space(layout=layout, floor=seen.config.workspace.min_free_mb * MB)
    lacking = space.lacking()
    yield not lacking, lacking or f"{free(layout.workspaces) // MB:,} MB are free for workspaces"
    for path in (layout.database, layout.calls_database):
        if path.exists():
            wrong = _damage(path)
            yield (
                not wrong,
                f"{path.name} is damaged: {wrong}" if wrong else f"{path.name} is whole",
            )
    for path in kept_aside(layout):
        yield True, f"{path.name} was damaged and has been rebuilt: remove it when you like"
    rebuilt = events.newest(seen.view.db, Kind.REBUILT)
    if rebuilt is not None:
        yield True, rebuilt.reason


def _damage(path: Path) -> str:
    try:
        with contextlib.closing(Database(path, read_only=True)) as db:
            return db.find_damage()
    except FleetError as error:
        return str(error.__cause__ or error)
