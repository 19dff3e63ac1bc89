"""What an agent sees: its own folders, the hub's objects, its prompt, and the proxy's door."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.attempt import Claim
from fleet.core.profile import Profile
from fleet.process.sandbox.sandbox import Command, Place, Sandbox
from fleet.process.sandbox.view import GUEST, WORKSPACE, Bind, Forward, View, shown
from fleet.wiring import Fleet
from fleet.worker.access import Access
from fleet.worker.workspace import Rooms

PROMPT = GUEST / "prompt.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """Around one attempt. Its workspace, home and temporary folder have the same names as those
    of every other attempt where the rung can do that, so that equal agents ask equal questions."""

    sandbox: Sandbox
    view: View
    prompt: Path  # of the host

    @property
    def place(self) -> Place:
        return self.sandbox.place(self.view)

    @property
    def prompt_file(self) -> Path:
        return self.sandbox.seen(self.prompt, PROMPT)

    def command(self, argv: Sequence[str], env: Mapping[str, str], tools: Path | None) -> Command:
        """`tools`: the folder that `[workspace] setup` has made."""
        program = shutil.which(argv[0], path=env.get("PATH")) if argv else None
        ours = (shown(tools),) if tools is not None else ()
        view = replace(self.view, binds=(*self.view.binds, *ours))
        sandbox = self.sandbox.showing((Path(program) if program else None,))
        return sandbox.command(argv, view, env)


def around(fleet: Fleet, claim: Claim, profile: Profile, rooms: Rooms, access: Access) -> Walls:
    prompt = fleet.layout.attempt(claim.task.id, claim.epoch) / "prompt.md"
    door = fleet.layout.proxy_socket
    forward = Forward(port=access.port, folder=door.parent, socket=door.name)
    view = View(
        work=Bind(host=rooms.work, inside=WORKSPACE, writable=True),
        home=rooms.home,
        tmp=rooms.tmp,
        binds=(
            shown(fleet.hub.objects),
            shown(Path(profile.folder)),
            # As the profile has them: what a prompt says is no place to show.
            *fleet.sandbox.named((*profile.command, *profile.resume)),
            Bind(host=prompt, inside=PROMPT),
        ),
        forward=forward if access.token else None,
    )
    return Walls(sandbox=fleet.sandbox, view=view, prompt=prompt)
