"""A small world to be kept out of, and programs behind each rung of the ladder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet.process.sandbox import landlock
from fleet.process.sandbox.bubblewrap import find
from fleet.process.sandbox.sandbox import Sandbox, climb
from fleet.process.sandbox.view import WORKSPACE, Allowed, Bind, Forward, Rung, View
from fleet.process.supervise import Ended, supervise
from fleet.process.tree import become_subreaper

PROBE = Path(__file__).with_name("probe.py")
PATH = os.environ["PATH"]
LACKING = {
    Rung.BUBBLEWRAP: "" if find(PATH) else "bubblewrap is not here, or not allowed to work",
    Rung.LANDLOCK: "" if landlock.abi() >= landlock.NETWORK_ABI else "no Landlock with TCP rules",
}
RUNGS = [
    pytest.param(rung, marks=pytest.mark.skipif(bool(why), reason=why))
    for rung, why in LACKING.items()
]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Folders of one attempt beside things it must not see."""

    root: Path
    sandbox: Sandbox
    view: View

    def run(
        self, *argv: str, allowed: Allowed | None = None, forward: Forward | None = None
    ) -> Ended:
        sandbox = self.sandbox if allowed is None else replace(self.sandbox, allowed=allowed)
        view = replace(self.view, forward=forward)
        place = sandbox.place(view)
        env = {"PATH": PATH, "HOME": str(place.home), "TMPDIR": str(place.tmp)}
        command = sandbox.showing([Path(sys.executable)]).command(argv, view, env)
        return supervise(
            command.argv,
            rung=command.rung,
            cwd=view.work.host,
            env=env,
            mark=f"test{self.root}.1",
            transcript=self.root / "transcript.log",
            wall_s=60.0,
            stall_s=None,
            should_stop=lambda: None,
        )

    @property
    def said(self) -> str:
        return (self.root / "transcript.log").read_text()

    def probe(
        self,
        asked: Mapping[str, Sequence[object]],
        allowed: Allowed | None = None,
        forward: Forward | None = None,
    ) -> dict[str, str]:
        """What each of these ended in: "" where nothing was in its way."""
        shutil.copy(PROBE, self.view.work.host / "probe.py")
        words = {name: [str(word) for word in words] for name, words in asked.items()}
        ended = self.run(
            sys.executable,
            "-S",
            str(self.sandbox.place(self.view).work / "probe.py"),
            json.dumps(words),
            allowed=allowed,
            forward=forward,
        )
        assert ended.code == 0, self.said
        said: dict[str, str] = json.loads(self.said)
        return said


Build = Callable[[Rung], World]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    become_subreaper()

    def made(rung: Rung) -> World:
        attempt = tmp_path / "attempt"
        for name in ("work", "home", "tmp"):
            (attempt / name).mkdir(parents=True)
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "secret").write_text("a key")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "work.py").write_text("another attempt's")
        found = climb(PATH, private=(tmp_path,), allowed=Allowed())
        return World(
            root=tmp_path,
            sandbox=replace(found, rung=rung),
            view=View(
                work=Bind(host=attempt / "work", inside=WORKSPACE, writable=True),
                home=attempt / "home",
                tmp=attempt / "tmp",
            ),
        )

    return made
