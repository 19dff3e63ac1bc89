"""Where one check is run: a checkout, a private folder, an environment, and the rules to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.process.bounds import Bounds
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
    bounds: Bounds | None = None

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, output: str = OUTPUT
    ) -> Ended:
        return supervise(
            argv,
            cwd=self.checkout,
            env={**self.env, **(env or {})},
            mark=self.mark,
            transcript=self.scratch / output,
            wall_s=self.wall_s,
            stall_s=None,
            should_stop=self.should_stop,
            bounds=self.bounds,
        )

    def said(self, output: str = OUTPUT) -> list[str]:
        """The lines of what it said, fit to be shown."""
        text = plain(read(self.scratch / output).decode("utf-8", "replace"))
        return text.rstrip().split("\n")

    def last_said(self) -> str:
        lines = [line.rstrip()[:LINE_CHARS] for line in self.said()[-LAST_LINES:]]
        return "\n".join(lines).strip("\n")
