"""The state of a repository's fleet, opened by whoever may write to it."""

from __future__ import annotations

import logging
from pathlib import Path

from fleet.config import Config
from fleet.core.errors import FleetError
from fleet.recovery.opening import Opened, Place, open_ledger
from fleet.repo.branch import Target
from fleet.repo.git import Places
from fleet.repo.hub import Hub
from fleet.store.layout import Layout
from fleet.store.mounts import mount_of

log = logging.getLogger(__name__)


def layout_of(places: Places, config: Config) -> Layout:
    return Layout(
        common_dir=places.common_dir,
        top=places.top or places.common_dir,
        cache=Path(config.workspace.root or config.env.cache),
    )


def target_of(places: Places, config: Config) -> Target:
    return Target(places.common_dir, config.fleet.target or Target.current(places.git_dir))


def open_state(
    places: Places, config: Config, layout: Layout, *, mends: bool = True, thorough: bool = False
) -> Opened:
    """The folders and the ledger in them; what had to be done to the ledger is said."""
    _refuse_shared_disk(layout, config)
    layout.prepare()
    place = Place(layout=layout, find_target=lambda: target_of(places, config), hub=Hub(layout.hub))
    opened = open_ledger(place, mends=mends, thorough=thorough)
    if opened.told:
        log.warning("%s", opened.told)
    return opened


def _refuse_shared_disk(layout: Layout, config: Config) -> None:
    """Before anything is made there."""
    mount = mount_of(layout.common_dir)
    if mount is not None and mount.is_shared and not config.fleet.network_fs:
        raise FleetError(
            f"{layout.common_dir} is on {mount.kind} ({mount.at}), where another machine's locks "
            "are not seen: two fleets could do one task twice. Use a clone on a local disk, or, if "
            "no other machine ever runs fleet here, set [fleet] network_fs = true"
        )
