"""`[workspace] setup`: commands run once for each content of the lock files.

They make one folder, `{env}` in the commands and `$FLEET_ENV` for agents and gates, whose `bin`
comes first on their PATH: usually a virtual environment. One process builds it in a clean
checkout, the others wait; it counts only once the last command has succeeded.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.gate.checks import Tools
from fleet.gate.cleanroom import Caller
from fleet.gate.runner import environment
from fleet.process.sandbox.sandbox import NO_WALLS, Sandbox
from fleet.process.sandbox.view import View, shown
from fleet.process.supervise import End, supervise
from fleet.process.transcript import plain, read
from fleet.repo.hub import Hub
from fleet.repo.workspace import remove
from fleet.store import aside
from fleet.store.claims import hold
from fleet.store.layout import Layout

SETUP_S = 1800.0
LAST_LINES = 15
DONE = ".fleet-done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    hub: Hub
    layout: Layout
    tools: Tools
    setup: tuple[str, ...]
    lock_files: tuple[str, ...]
    sandbox: Sandbox = NO_WALLS

    def ensure(self, tree: str, by: Caller) -> Path | None:
        """The environment of a tree, built if need be; None when nothing is to be set up.

        Raises `FleetError` with the last words of the command that failed.
        """
        if not self.setup:
            return None
        place = self._place(tree)
        while not (place / DONE).exists():
            lock = hold(self.layout.setup_lock, timeout_s=1.0)
            if lock is None:
                by.check()
                continue
            with lock:
                if not (place / DONE).exists():
                    self._build(tree, place, by)
        return place

    def _place(self, tree: str) -> Path:
        digest = hashlib.sha256("\0".join((*self.setup, str(self.tools.python))).encode())
        for name in self.lock_files:
            digest.update(b"\0" + (self.hub.read_file(tree, name) or b""))
        return self.layout.workspaces / f"env-{digest.hexdigest()[:16]}"

    def _build(self, tree: str, place: Path, by: Caller) -> None:
        shutil.rmtree(place, ignore_errors=True)  # what a killed build left
        place.mkdir(mode=0o700)
        beside = aside.make(self.layout.workspaces, "setup")
        try:
            checkout, home, tmp = beside / "checkout", beside / "home", beside / "tmp"
            for folder in (checkout, home, tmp):
                folder.mkdir(mode=0o700)
            self.hub.materialise(tree, checkout)
            env = {**environment(self.tools, home, tmp), "FLEET_ENV": str(place)}
            for command in self.setup:
                argv = [word.replace("{env}", str(place)) for word in shlex.split(command)]
                self._run(argv, beside, place, env, by)
            (place / DONE).touch()
        finally:
            remove(beside, beneath=self.layout.workspaces)

    def _run(
        self, argv: Sequence[str], beside: Path, place: Path, env: dict[str, str], by: Caller
    ) -> None:
        """Walls, but with the network: packages come from somewhere."""
        checkout, output = beside / "checkout", beside / "output.log"
        view = View(
            work=shown(checkout, writable=True),
            home=beside / "home",
            tmp=beside / "tmp",
            binds=(shown(beside, writable=True), shown(place, writable=True)),
            network=True,
        )
        sandbox = self.sandbox.showing((self.tools.python,))
        command = sandbox.command(argv, view, env)
        ended = supervise(
            command.argv,
            rung=command.rung,
            cwd=checkout,
            env=env,
            mark=by.mark,
            transcript=output,
            wall_s=SETUP_S,
            stall_s=None,
            should_stop=by.stopped,
        )
        by.check()
        if ended.end is not End.EXITED or ended.code != 0:
            said = plain(read(output).decode("utf-8", "replace")).rstrip().splitlines()
            raise FleetError(
                "\n".join(
                    (
                        f"[workspace] setup: {shlex.join(argv)}: {ended.reason}",
                        *said[-LAST_LINES:],
                    )
                )
            )


def tools_in(place: Path | None, tools: Tools) -> Tools:
    """The tools as they are inside an environment: its interpreter, its programs first."""
    if place is None:
        return tools
    bin_ = place / "bin"
    python, ruff = bin_ / "python", bin_ / "ruff"
    return replace(
        tools,
        python=python if python.exists() else tools.python,
        ruff=ruff if ruff.exists() else tools.ruff,
        path=os.pathsep.join((str(bin_), tools.path)) if bin_.is_dir() else tools.path,
    )
