"""Real coding agents in a private folder, each in one of its own so that none can disturb another.

What is there and of the right version is left alone. What was interrupted is made again: a folder
counts only with the stamp that is written last. Nothing is installed globally, nothing needs root,
and the user's own agents and their configuration are neither read nor changed. Standard library
only: it runs before there is a .venv.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WHERE = Path(__file__).resolve().parent.parent / ".agents"
STAMP = ".installed"
TIMEOUT_S = 900


class InstallError(Exception):
    """Says what went wrong and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    program: str
    packages: tuple[str, ...]  # with versions; the first one is the agent
    from_npm: bool = True
    node: int = 0  # the oldest major version it runs on; 0: it brings what it needs
    before: tuple[int, int] = (4, 0)  # the first Python it does not run on
    quick: bool = False


NODE = "node@24.21.0"
AGENTS = {
    "claude": Agent(program="claude", packages=("@anthropic-ai/claude-code@2.1.330",), quick=True),
    "codex": Agent(program="codex", packages=("@openai/codex@0.169.0",), node=16, quick=True),
    "qwen": Agent(program="qwen", packages=("@qwen-code/qwen-code@0.24.4",), node=22, quick=True),
    "opencode": Agent(program="opencode", packages=("opencode-ai@1.18.33",)),
    "gemini": Agent(program="gemini", packages=("@google/gemini-cli@0.61.0",), node=20),
    "mini-swe": Agent(
        program="mini",
        # Without mcp its litellm cannot be imported, and it tries again for minutes.
        packages=("mini-swe-agent==2.4.6", "litellm==1.106.2", "mcp==2.3.0"),
        from_npm=False,
    ),
    "aider": Agent(
        program="aider", packages=("aider-chat==0.86.2",), from_npm=False, before=(3, 13)
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="install-agents", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(AGENTS)}; or all")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--list", action="store_true", help="what there is, and what is installed")
    asked.add_argument("--where", action="store_true", help="print the folder")
    options = parser.parse_args()
    if options.where:
        print(WHERE)
    elif options.list:
        show()
    else:
        names = options.names or [name for name, agent in AGENTS.items() if agent.quick]
        if unknown := set(names) - {*AGENTS, "all"}:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(AGENTS)}")
        try:
            install_all([*AGENTS] if "all" in names else list(dict.fromkeys(names)))
        except InstallError as error:
            print(f"install-agents: {error}", file=sys.stderr)
            return 1
    return 0


def show() -> None:
    for name, agent in AGENTS.items():
        there = is_there(WHERE / name, wanted(agent)) and program_of(name).exists()
        state = "installed" if there else "-"
        quick = "quick" if agent.quick else ""
        print(f"{name:<10}{agent.packages[0]:<36}{state:<11}{quick}".rstrip())


def install_all(names: list[str]) -> None:
    (WHERE / "bin").mkdir(parents=True, exist_ok=True)
    with alone():
        for name in names:
            agent = AGENTS[name]
            made = install(name, agent.packages, wanted(agent), agent)
            launch(name, agent)
            check(name, agent, made)


def install(
    folder: str, packages: tuple[str, ...], stamp: dict[str, object], agent: Agent | None = None
) -> float | None:
    """Seconds it took; None if it was there."""
    place = WHERE / folder
    if is_there(place, stamp):
        return None
    began = time.monotonic()
    print(f"{folder}: installing {' '.join(packages)}…", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if agent is None or agent.from_npm:
        install_from_npm(place, packages)
    else:
        install_from_pypi(place, packages, agent)
    (place / STAMP).write_text(json.dumps(stamp))
    return time.monotonic() - began


def install_from_npm(place: Path, packages: tuple[str, ...]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is not in PATH: install Node (20 or newer), which brings it")
    # Their install scripts put the program for this machine in its place.
    options = ["--no-fund", "--no-audit", "--no-update-notifier", "--engine-strict=false"]
    options += ["--global=false", "--ignore-scripts=false", "--no-save", "--no-package-lock"]
    (place / "package.json").write_text('{"private": true}\n')
    run(place, npm, "install", "--prefix", str(place), *options, *packages)


def install_from_pypi(place: Path, packages: tuple[str, ...], agent: Agent) -> None:
    if not (3, 11) <= sys.version_info[:2] < agent.before:
        major, minor = agent.before
        raise InstallError(
            f"{packages[0]} needs Python 3.11 or newer, older than {major}.{minor}; "
            f"{sys.executable} is {platform.python_version()}. Set FLEET_PYTHON to one."
        )
    run(place, sys.executable, "-m", "venv", str(place))
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(place, str(place / "bin" / "python"), *pip, *packages)


def run(place: Path, *words: str) -> None:
    # What is said about other installations, global ones and environments, is not meant for these.
    off = ("npm_config_prefix", "NPM_CONFIG_PREFIX", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in off}
    try:
        done = subprocess.run(
            words,
            cwd=place,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"{words[0]} did not end within {TIMEOUT_S} s; try again") from None
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise InstallError(f"this failed:\n  {' '.join(words)}\n{last}")


def launch(name: str, agent: Agent) -> None:
    """A link in bin/, or two lines of sh where the machine's Node is too old for it."""
    program = WHERE / "bin" / agent.program
    inside = Path("node_modules", ".bin") if agent.from_npm else Path("bin")
    target = Path(name) / inside / agent.program
    if agent.node and machine_node() < agent.node:
        install("node", (NODE,), {"packages": [NODE], "machine": machine()})
        node = WHERE / "node" / "node_modules" / ".bin"
        text = f'#!/bin/sh\nPATH="{node}:$PATH" exec "{WHERE / target}" "$@"\n'
        if program.is_file() and not program.is_symlink() and program.read_text() == text:
            return
        fresh = program.with_name(f".{program.name}.new")
        fresh.write_text(text)
        fresh.chmod(0o755)
    else:
        if program.is_symlink() and program.readlink() == Path("..") / target:
            return
        fresh = program.with_name(f".{program.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("..") / target)
    fresh.replace(program)


def check(name: str, agent: Agent, made: float | None) -> None:
    """What was just installed starts, and is of the version that was asked for."""
    version = agent.packages[0].replace("==", "@").rsplit("@", 1)[1]
    if made is None:
        print(f"{name}: {version} is there")
        return
    if agent.from_npm and version not in said_version(name):
        (WHERE / name / STAMP).unlink()
        raise InstallError(f"{program_of(name)} does not start, or is not {version}; try again")
    print(f"{name}: {version}, {made:.0f} s, {megabytes(WHERE / name)} MB")


def said_version(name: str) -> str:
    program = str(program_of(name))
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home}
        try:
            done = subprocess.run(
                [program, "--version"],
                env=env,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stdout


def program_of(name: str) -> Path:
    return WHERE / "bin" / AGENTS[name].program


def wanted(agent: Agent) -> dict[str, object]:
    """What a folder must have been made from. Another Python or machine makes it worthless."""
    python = "" if agent.from_npm else f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"packages": [*agent.packages], "machine": machine(), "python": python}


def machine() -> str:
    return f"{platform.system()}-{platform.machine()} {WHERE}"


def machine_node() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").split(".")[0]
    return int(major) if major.isdecimal() else 0


def is_there(place: Path, stamp: dict[str, object]) -> bool:
    try:
        return bool(json.loads((place / STAMP).read_text()) == stamp)
    except (OSError, ValueError):
        return False


def megabytes(place: Path) -> int:
    files = (path.lstat() for path in place.rglob("*") if not path.is_symlink())
    inodes = {(stat.st_dev, stat.st_ino): stat.st_blocks for stat in files}
    return sum(inodes.values()) * 512 // 1_000_000


@contextmanager
def alone() -> Iterator[None]:
    """One at a time: two would remove each other's folders."""
    with (WHERE / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("install-agents: waiting for another one to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
