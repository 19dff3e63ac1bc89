"""Where one check is run: a checkout, a private folder, an environment, and the rules to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.process.bounds import Bounds
from fleet.process.sandbox.sandbox import NO_WALLS, Sandbox
from fleet.process.sandbox.view import View, shown
from fleet.process.supervise import Ended, supervise
from fleet.process.transcript import plain, read

OUTPUT = "output.log"
LAST_LINES = 40
LINE_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    checkout: Path  # absolute, as is the next
    scratch: Path
    env: Mapping[str, str]
    mark: str
    wall_s: float
    should_stop: Callable[[], str | None]
    sandbox: Sandbox = NO_WALLS
    bounds: Bounds | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        output: str = OUTPUT,
        shows: Sequence[Path] = (),
    ) -> Ended:
        """`shows`: what it has to see besides, for reading."""
        env = {**self.env, **(env or {}), **self.sandbox.env()}
        command = self.sandbox.command(argv, self._view(shows), env)
        return supervise(
            command.argv,
            rung=command.rung,
            cwd=self.checkout,
            env=env,
            mark=self.mark,
            transcript=self.scratch / output,
            wall_s=self.wall_s,
            stall_s=None,
            should_stop=self.should_stop,
            bounds=self.bounds,
        )

    def _view(self, shows: Sequence[Path]) -> View:
        """Everything stays where it is: reports name the same paths on both sides of the wall."""
        return View(
            work=shown(self.checkout, writable=True),
            home=self.scratch / "home",
            tmp=self.scratch / "tmp",
            binds=(
                shown(self.scratch, writable=True),
                *map(shown, shows),
            ),
        )

    def said(self, output: str = OUTPUT) -> list[str]:
        """The lines of what it said, fit to be shown."""
        text = plain(read(self.scratch / output).decode("utf-8", "replace"))
        return text.rstrip().split("\n")

    def last_said(self) -> str:
        lines = [line.rstrip()[:LINE_CHARS] for line in self.said()[-LAST_LINES:]]
        return "\n".join(lines).strip("\n")
