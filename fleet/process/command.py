"""Short commands of our own (git, a tool's version): run to the end, output in memory.

A failing command is a value. Agents and gates, which may hang, flood and fork, are run by
`fleet.process.supervise` instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NOT_FOUND = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended. `code` is negative for a signal, as in `subprocess`."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes
    timed_out: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.code == 0 and not self.timed_out

    @property
    def killed(self) -> bool:
        """By somebody else: what it would have said is not known."""
        return self.code < 0 and not self.timed_out

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "replace").strip()

    @property
    def complaint(self) -> str:
        """What it said when it failed, in one line."""
        said = (self.err or self.out).decode("utf-8", "replace").strip()
        last = said.splitlines()[-1] if said else ""
        how = "timed out" if self.timed_out else f"exit {self.code}"
        return f"{' '.join(self.argv[:3])}: {how}" + (f": {last}" if last else "")


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout_s: float = 60.0,
    pass_fds: Sequence[int] = (),
) -> Done:
    """Run `argv` in a session of its own, so that a Ctrl-C reaches only us."""
    began = time.monotonic()
    try:
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        return Done(
            argv=tuple(argv),
            code=NOT_FOUND,
            out=b"",
            err=f"{argv[0]}: {error.strerror}".encode(),
            timed_out=False,
            seconds=0.0,
        )
    timed_out = False
    try:
        out, err = child.communicate(stdin or None, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    return Done(
        argv=tuple(argv),
        code=child.returncode,
        out=out,
        err=err,
        timed_out=timed_out,
        seconds=time.monotonic() - began,
    )
