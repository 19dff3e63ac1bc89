"""The demo: make a small library a git repository, and let six agents work on it offline. Their
model is a script.

scripts/demo [--agents N] [--keep] [--json]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = Path(__file__).parent / "demo_files"
IDENTITY = ("-c", "user.name=Demo", "-c", "user.email=demo@localhost")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the main job offline.")
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--keep", action="store_true", help="keep the repository and say where")
    parser.add_argument("--json", action="store_true", help="events as JSON lines")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fleet-demo-"))
    try:
        return demo(folder, agents=options.agents, as_json=options.json)
    finally:
        if options.keep:
            print(f"\nkept: {folder / 'textkit'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def demo(folder: Path, *, agents: int, as_json: bool) -> int:
    repository = folder / "textkit"
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    make_repository(repository, env)
    began = time.monotonic()
    arguments = ["run", "--agents", str(agents), *(["--json"] if as_json else [])]
    code = fleet(arguments, repository, env)
    took = time.monotonic() - began
    if as_json:
        return code
    print(f"\nThe run took {took:.1f} s and ended with exit code {code}.")
    print("\nWhat is on main now:\n")
    sys.stdout.flush()
    git(["log", "--oneline", "--first-parent"], repository, env)
    print("\nWhat became of each task:\n")
    sys.stdout.flush()
    fleet(["task", "list"], repository, env)
    print("\nWhat the offline checker says:\n")
    sys.stdout.flush()
    audit = fleet(["doctor", "--audit"], repository, env)
    print("\nAnd running it again:\n")
    sys.stdout.flush()
    fleet(["run"], repository, env)
    print("\nWhat the agents asked of their model, and what it was asked:\n")
    sys.stdout.flush()
    fleet(["proxy", "stats"], repository, env)
    # Two of the sixteen tasks are there to be refused, so the run ends with 1.
    return 0 if code == 1 and audit == 0 else 1


def make_repository(repository: Path, env: dict[str, str]) -> None:
    shutil.copytree(FILES / "library", repository)
    for name in ("fleet.toml", "model.toml"):
        shutil.copy(FILES / name, repository / name)
    (repository / "tasks").mkdir()
    shutil.copy(FILES / "tasks.toml", repository / "tasks" / "textkit.toml")
    git(["init", "-q", "-b", "main"], repository, env)
    git(["add", "-A"], repository, env)
    git([*IDENTITY, "commit", "-q", "-m", "First version"], repository, env)


def fleet(arguments: list[str], repository: Path, env: dict[str, str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments], cwd=repository, env=env, check=False
    ).returncode


def git(arguments: list[str], repository: Path, env: dict[str, str]) -> None:
    subprocess.run(["git", *arguments], cwd=repository, env=env, check=True)


if __name__ == "__main__":
    sys.exit(main())
