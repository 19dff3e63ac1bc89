"""An agent without a model: does what the lines of its prompt that start with "@" say.

    @write PATH … @end             the lines between become the file (@append: are added to it)
    @replace PATH … @with … @end   every occurrence of the first text becomes the second
    @delete PATH                   @commit MESSAGE        everything, with git
    @run WORDS…                    without a shell; its failure is ours
    @say TEXT      @lorem TEXT     print it; ignore it
    @sleep S       @dots S         wait, quietly or with a dot every 0.2 s
    @hang          @spin           for ever, at rest or at work
    @flood BYTES                   to stdout, as fast as it takes them: 100M, 10G
    @daemon S                      leave a process in a session of its own that commits after S
    @ignore-term   @exit CODE      @kill (itself)         @kill-worker (whoever started it)
    @on N … @always                what lies between, on attempt N only
    @if-findings … @fi             …, only if an attempt before this one was found wanting

All other lines are prose, and so is what the prompt tells of the last attempt. The prompt is read
to its end before anything is done. Exit 64: it cannot be carried out as written; 1: a step failed.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

FINDINGS = "## What the last attempt ran into"
FAILED, USAGE = 1, 64
DOT_S = 0.2
FLOOD_PIECE = (b"x" * 79 + b"\n") * 4096
SIZES = {"K": 1000, "M": 1000**2, "G": 1000**3}
BODIES = {"write": ("@end",), "append": ("@end",), "replace": ("@with", "@end")}
GIT = ("git", "-c", "user.name=echo", "-c", "user.email=echo@localhost")


class EchoError(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One directive, the texts that belong to it, and when it applies."""

    name: str
    rest: str
    texts: tuple[str, ...] = ()
    on: int | None = None
    needs_findings: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    steps: tuple[Step, ...]
    findings: bool

    def on(self, attempt: int) -> list[Step]:
        return [
            step
            for step in self.steps
            if step.on in (None, attempt) and (self.findings or not step.needs_findings)
        ]


def main() -> int:
    try:
        script = read(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
        attempt = whole_number(os.environ.get("FLEET_ATTEMPT_NUMBER", "1"))
        for step in script.on(attempt):
            DIRECTIVES[step.name](step)
    except EchoError as error:
        say(f"echo: {error}")
        return error.code
    except OSError as error:
        say(f"echo: {error}")
        return FAILED
    return 0


def read(prompt: str) -> Script:
    """The steps of a prompt, in order."""
    lines = iter(prompt.split("\n"))
    steps: list[Step] = []
    on: int | None = None
    in_findings = had_findings = needs_findings = False
    for line in lines:
        if line.startswith("## "):
            in_findings = line.rstrip() == FINDINGS
            had_findings |= in_findings
        if in_findings or not line.startswith("@"):
            continue
        name, _, rest = line[1:].strip().partition(" ")
        if name in ("on", "always"):
            on = whole_number(rest) if name == "on" else None
        elif name in ("if-findings", "fi"):
            needs_findings = name == "if-findings"
        elif name in DIRECTIVES:
            texts = tuple(until(end, lines) for end in BODIES.get(name, ()))
            step = Step(name=name, rest=rest.strip(), texts=texts)
            steps.append(replace(step, on=on, needs_findings=needs_findings))
        else:
            raise EchoError(USAGE, f"unknown directive @{name}")
    if needs_findings:
        raise EchoError(USAGE, "@if-findings has no @fi")
    return Script(steps=tuple(steps), findings=had_findings)


def until(end: str, lines: Iterator[str]) -> str:
    text: list[str] = []
    for line in lines:
        if line.rstrip() == end:
            return "".join(text)
        text.append(f"{line}\n")
    raise EchoError(USAGE, f"a text has no {end}")


def whole_number(text: str) -> int:
    if not text.strip().isdecimal():
        raise EchoError(USAGE, f"not a whole number: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        raise EchoError(USAGE, f"not a number of seconds: {text!r}") from None


def say(text: str) -> None:
    sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def inside(path: str) -> Path:
    here = Path.cwd()
    there = (here / path).resolve()
    if there == here.resolve() or not there.is_relative_to(here.resolve()):
        raise EchoError(USAGE, f"not a file in the workspace: {path!r}")
    return there


def write(step: Step) -> None:
    path = inside(step.rest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(step.texts[0].encode("utf-8", "surrogateescape"))
    say(f"wrote {step.rest}")


def append(step: Step) -> None:
    path = inside(step.rest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(step.texts[0].encode("utf-8", "surrogateescape"))
    say(f"added to {step.rest}")


def replace_text(step: Step) -> None:
    path = inside(step.rest)
    # The line break before @with or @end is theirs, so that a part of a line can be replaced.
    old, new = (text[:-1].encode("utf-8", "surrogateescape") for text in step.texts)
    before = path.read_bytes()
    if not old or old not in before:
        raise EchoError(FAILED, f"{step.rest} does not hold the text to replace")
    path.write_bytes(before.replace(old, new))
    say(f"replaced {before.count(old)} in {step.rest}")


def delete(step: Step) -> None:
    inside(step.rest).unlink()
    say(f"deleted {step.rest}")


def commit(step: Step) -> None:
    run_program([*GIT, "add", "-A"])
    run_program([*GIT, "commit", "-q", "-m", step.rest])
    say(f"committed: {step.rest}")


def run(step: Step) -> None:
    try:
        words = shlex.split(step.rest)
    except ValueError as error:
        raise EchoError(USAGE, f"cannot split {step.rest!r}: {error}") from error
    if not words:
        raise EchoError(USAGE, "@run names no program")
    say(f"running {step.rest}")
    run_program(words)


def run_program(argv: list[str]) -> None:
    code = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    if code:
        raise EchoError(FAILED, f"{argv[0]} ended with {code}")


def sleep(step: Step) -> None:
    say(f"sleeping {step.rest} s")
    time.sleep(seconds(step.rest))


def dots(step: Step) -> None:
    for _ in range(round(seconds(step.rest) / DOT_S)):
        sys.stdout.write(".")
        sys.stdout.flush()
        time.sleep(DOT_S)
    say("")


def hang(step: Step) -> None:
    say("hanging")
    while True:
        signal.pause()


def spin(step: Step) -> None:
    say("spinning")
    while True:
        pass


def flood(step: Step) -> None:
    size = step.rest.upper()
    unit = SIZES.get(size[-1:], 1)
    left = unit * whole_number(size if unit == 1 else size[:-1])
    while left > 0:
        left -= sys.stdout.buffer.write(FLOOD_PIECE[:left])
    say(f"flooded {step.rest}")


def daemon(step: Step) -> None:
    """Forked twice and in a session of its own, but with our environment, as real daemons are."""
    delay = seconds(step.rest)
    say(f"leaving a daemon for {step.rest} s")
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork() == 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        time.sleep(delay)
        os.execvp("git", [*GIT, "commit", "-q", "--allow-empty", "-m", "By a daemon"])
    os._exit(0)


def ignore_term(step: Step) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ignoring SIGTERM")


def leave(step: Step) -> None:
    raise EchoError(whole_number(step.rest), f"leaving with {step.rest}")


def kill(step: Step) -> None:
    say("killing myself")
    os.kill(os.getpid(), signal.SIGKILL)


def kill_worker(step: Step) -> None:
    say("killing my parent")
    os.kill(os.getppid(), signal.SIGKILL)


DIRECTIVES: dict[str, Callable[[Step], None]] = {
    "write": write,
    "append": append,
    "replace": replace_text,
    "delete": delete,
    "commit": commit,
    "run": run,
    "say": lambda step: say(step.rest),
    "lorem": lambda step: None,
    "sleep": sleep,
    "dots": dots,
    "hang": hang,
    "spin": spin,
    "flood": flood,
    "daemon": daemon,
    "ignore-term": ignore_term,
    "exit": leave,
    "kill": kill,
    "kill-worker": kill_worker,
}


if __name__ == "__main__":
    sys.exit(main())
