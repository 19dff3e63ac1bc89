"""Other gateways, each in a folder of its own that stays: fleet's environment is not touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.rig.processes import NotStarted, tail

MADE = ".made-from"


def python_package(
    name: str, packages: Sequence[str], peers: Path, *, install: bool = True
) -> Path:
    """A virtual environment with these packages."""
    folder = peers / name
    if _made(folder) != python_mark(packages):
        _may(name, install=install)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True, symlinks=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q"]
        _run([*pip, "--disable-pip-version-check", *packages], folder)
        (folder / MADE).write_text(python_mark(packages))
    return folder


def node_package(name: str, package: str, peers: Path, *, install: bool = True) -> Path:
    """A folder with node_modules."""
    folder = peers / name
    if _made(folder) != package:
        _may(name, install=install)
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise NotStarted("it needs node and npm, and they are not on PATH")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", package], folder)
        (folder / MADE).write_text(package)
    return folder


def python_mark(packages: Sequence[str]) -> str:
    """What a finished environment says it was made from."""
    return "\n".join((sys.version, *packages))


def _made(folder: Path) -> str:
    made = folder / MADE
    return made.read_text() if made.exists() else ""


def _may(name: str, *, install: bool) -> None:
    if not install:
        raise NotStarted("it is not installed: --install does it, in minutes")
    print(f"installing {name}…", file=sys.stderr, flush=True)


def _run(argv: list[str], folder: Path) -> None:
    log = folder / "install.log"
    with log.open("wb") as out:
        done = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise NotStarted(f"it could not be installed, see {log}: {tail(log)}")
