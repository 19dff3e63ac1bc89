"""Runs one program as an agent: the first line of the prompt that starts with "$ ".

The line is split into words as a shell would, and no shell sees it: no pipes, no variables. This
process becomes the program, so signals reach it and its exit code is ours. Exit 64: the prompt
holds no such line, or one that cannot be split; 126 and 127: the program cannot be run, or is
not there.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import NoReturn

FINDINGS = "## What the last attempt ran into"  # what comes after it was not written by a person
USAGE, NOT_RUNNABLE, NOT_FOUND = 64, 126, 127


def main() -> NoReturn:
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    line = command_line(prompt)
    if line is None:
        give_up(USAGE, 'the prompt has no line that starts with "$ "')
    try:
        argv = shlex.split(line)
    except ValueError as error:
        give_up(USAGE, f"cannot split {line!r}: {error}")
    if not argv:
        give_up(USAGE, 'the line that starts with "$ " names no program')
    print(f"$ {shlex.join(argv)}", flush=True)
    become(argv)


def command_line(prompt: str) -> str | None:
    for line in prompt.splitlines():
        if line == FINDINGS:
            return None
        if line.startswith("$ "):
            return line[2:].strip()
    return None


def become(argv: list[str]) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # the prompt is read; the program must not wait for more of it
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        give_up(NOT_FOUND, f"no such program: {argv[0]}")
    except (OSError, ValueError) as error:
        give_up(NOT_RUNNABLE, f"{argv[0]}: {error}")


def give_up(code: int, why: str) -> NoReturn:
    print(f"command: {why}", file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
