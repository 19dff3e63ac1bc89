"""Let a fleet loose on a real project: an sdist, its own test suite as the gate, echo agents.

scripts/real-project NAME [--tasks N] [--agents N] [--tests "PYTEST ARGUMENTS"] [--keep]

The tasks are made from the project's own source: functions, modules and comments, three tasks that
write to the end of one file, one that needs another, and one that breaks what the suite covers.
All but the last must land. Exit 0: they did, the audit is clean, and the suite passes in the end.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import tomli_w

CLASHING = 3  # tasks that write to the end of one and the same file


class Unfit(Exception):
    """Why this project cannot be used; for the person at the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line `def NAME(` that is there once, at the top of a module: something can go before it."""

    path: str
    name: str

    @property
    def broken(self) -> str:
        """What makes the function useless when it is added to the end of its module."""
        return f"\n\ndef {self.name}(*args, **kwargs):\n    raise NotImplementedError\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    repository: Path
    python: Path
    arguments: tuple[str, ...]  # for pytest
    tests: str  # the folder new tests go to
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    code: int  # pytest's: 0 all passed, 1 some failed; others are no failures of tests
    seconds: float
    said: str  # its last line


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a fleet on a project from the registry.")
    parser.add_argument("name", help="such as toolz or more-itertools")
    parser.add_argument("--tasks", type=int, default=20, choices=range(7, 201), metavar="N")
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--tests", default="", help="arguments for pytest")
    parser.add_argument("--keep", action="store_true", help="keep the repository and say where")
    options = parser.parse_args()
    folder: AbstractContextManager[str] = tempfile.TemporaryDirectory(prefix="fleet-real-")
    if options.keep:
        folder = nullcontext(tempfile.mkdtemp(prefix="fleet-real-"))
    with folder as name:
        try:
            project = fetch(options.name, Path(name), tuple(shlex.split(options.tests)))
            os.environ["XDG_CACHE_HOME"] = str(Path(name, "cache"))
            return race(project, tasks=options.tasks, agents=options.agents)
        except Unfit as why:
            print(f"{options.name}: {why}", file=sys.stderr)
            return 2
        finally:
            if options.keep:
                print(f"kept: {name}")


def race(project: Project, *, tasks: int, agents: int) -> int:
    alone = run_suite(project, "base")
    if alone.code:
        raise Unfit(f"its suite does not pass as it is ({alone.said}): see --tests")
    print(f"suite alone: {alone.seconds:.1f} s ({alone.said})", flush=True)
    add_tasks(project, tasks, broken=breakable(project))
    began = time.monotonic()
    done = fleet(project, "run", "--agents", str(agents), "--json")
    wall = time.monotonic() - began
    print(done.stderr[-4000:], end="", file=sys.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kinds = Counter(str(event["kind"]) for event in events)
    ended = {str(e["task"]): str(e.get("reason", "")) for e in events if e["kind"] == "ended"}
    print(f"wall time: {wall:.1f} s with {agents} agents; exit code {done.returncode}")
    print(f"tasks: {kinds['landed']} landed, {len(ended)} refused, of {tasks}")
    for id_, reason in ended.items():
        print(f"  {id_}: {reason[:150]}")
    back = Counter(str(e.get("outcome")) for e in events if e["kind"] == "returned")
    print(f"attempts: {kinds['claimed']}; returned for another: {dict(back)}")
    print_gates(project, [float(e.get("number", 0)) for e in events if e["kind"] == "gated"], alone)
    audit = fleet(project, "doctor", "--audit")
    print(f"audit: {audit.stdout.strip() or audit.stderr.strip()}")
    final = run_suite(project, "final")
    print(f"suite on the final main: {'FAILS' if final.code else 'passes'} ({final.said})")
    met = kinds["landed"] == tasks - 1 and list(ended) == ["break"]
    print(f"expected {tasks - 1} landed and `break` refused: {'yes' if met else 'NO'}")
    return 0 if met and audit.returncode == 0 and final.code == 0 else 1


def print_gates(project: Project, seconds: Sequence[float], alone: Suite) -> None:
    """Workers' gates are events. What the lander ran shows in the reports kept of each tree."""
    state = project.repository / ".git" / "fleet"
    gates = [json.loads(path.read_text()) for path in state.glob("attempts/*/gate.json")]
    cached = sum(bool(gate["cached"]) for gate in gates)
    print(f"gates of workers: {len(seconds)}, {cached} of them from the cache")
    print(f"median gate, waiting for a slot included: {statistics.median(seconds or [0]):.1f} s")
    with closing(sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT body FROM reports").fetchall()
    reports = [json.loads(zlib.decompress(body)) for (body,) in rows]
    runs = [sum(float(run["seconds"]) for run in report["runs"]) for report in reports]
    ours = len(gates) - cached
    who = f"1 of the base, {ours} by workers, {len(runs) - ours - 1} by the lander"
    print(f"suite runs on record: {len(runs)} ({who}), {sum(runs):.0f} s in all")
    print(f"median suite run: {statistics.median(runs):.1f} s; alone: {alone.seconds:.1f} s")


def fetch(name: str, folder: Path, arguments: tuple[str, ...]) -> Project:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    output([*pip, "--dest", str(folder / "sdist"), "--", name], folder)
    (archive,) = (folder / "sdist").iterdir()
    if not tarfile.is_tarfile(archive):
        raise Unfit(f"{archive.name} is no tar archive")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (top,) = (folder / "unpacked").iterdir()
    repository = top.rename(folder / "project")
    print(f"project: {archive.name}", flush=True)

    python = folder / "venv" / "bin" / "python"
    output([sys.executable, "-m", "venv", "venv"], folder)
    # From a copy: a build leaves things behind. Under src/, tests see only what is installed.
    layout = ["--editable", str(repository)] if (repository / "src").is_dir() else [str(archive)]
    output([str(python), "-m", "pip", "install", "pytest", *layout], folder)

    output(["git", "init", "-q", "-b", "main"], repository)
    commit(repository, archive.name)
    modules = [Path(p) for p in output(["git", "ls-files", "*.py"], repository).splitlines()]
    folders = Counter(path.parent for path in modules if path.name.startswith("test_"))
    found = tuple(places(repository, [path for path in modules if path.parent not in folders]))
    if not found or not folders:
        raise Unfit("its sdist has no tests, or no functions in packages")
    tests = str(folders.most_common(1)[0][0])
    return Project(
        repository=repository, python=python, arguments=arguments, tests=tests, places=found
    )


def places(repository: Path, modules: Sequence[Path]) -> Iterator[Place]:
    """Top-level functions of importable packages, module by module in turn."""
    for path in modules:
        # What an __init__.py defines is a project's public face, and often tested as such.
        if path.name == "__init__.py" or path.with_name("__init__.py") not in modules:
            continue
        text = (repository / path).read_text("utf-8")
        for node in ast.parse(text).body:
            if not isinstance(node, ast.FunctionDef) or node.decorator_list:
                continue
            if text.count(f"def {node.name}(") == 1:
                yield Place(path=path.as_posix(), name=node.name)


def breakable(project: Project) -> Place:
    """A public function that the suite fails without. Proven, in a clone."""
    files = (project.repository / project.tests).glob("test_*.py")
    tested = "".join(file.read_text("utf-8") for file in files)
    likely = [p for p in project.places if f"{p.name}(" in tested and not p.name.startswith("_")]
    for place in likely[:8]:
        if run_suite(project, f"without-{place.name}", (place,)).code == 1:
            return place
    raise Unfit("its suite passes without any of the functions it names")


def add_tasks(project: Project, count: int, *, broken: Place) -> None:
    tasks = list(write_tasks(project, count, broken))
    command = shlex.join(["pytest", "-q", *project.arguments])
    gate = {"commands": [command], "python": str(project.python)}
    settings = {"fleet": {"agent": "echo", "retry_delay": "0.2s"}, "gate": gate}
    (project.repository / "fleet.toml").write_text(tomli_w.dumps(settings))
    file = project.repository / "tasks" / "fleet-real.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(tomli_w.dumps({"tasks": tasks}, multiline_strings=True))
    commit(project.repository, "Tasks for a fleet")


def write_tasks(project: Project, count: int, broken: Place) -> Iterator[dict[str, object]]:
    """The clash and the breakage first: they must be dealt with while all others land."""
    spots = [place for place in project.places if place != broken]
    rest = count - CLASHING - 3
    crowded = project.places[-1].path
    package = Path(project.places[0].path).parent
    yield task("break", f"@append {broken.path}{broken.broken}@end", max_attempts=2)
    for number in range(CLASHING):
        body = f"@append {crowded}\n\n\n{plus(f'_clash_{number}', number)}@end"
        test = test_of(project, crowded, f"_clash_{number}", number)
        yield task(f"clash-{number}", body + test)
    first = f"{package}/_fleet_first.py"
    body = f"@write {first}\n{plus('_first', 1)}@end" + test_of(project, first, "_first", 1)
    yield task("first", body)
    body = f"@append {first}\n\n\ndef _second(number):\n    return _first(_first(number))\n@end"
    yield task("second", body + test_of(project, first, "_second", 2), depends_on=["first"])
    for number in range(rest):
        spot = spots[number * len(spots) // rest]  # far apart, so that git can merge
        function = f"_before_{number}"
        match number % 3:
            case 0:
                body = before(spot, f"{plus(function, number)}\n\n")
                test = test_of(project, spot.path, function, number)
                yield task(f"function-{number}", body + test)
            case 1:
                yield task(f"comment-{number}", before(spot, f"# Looked at by {number}.\n"))
            case _:
                path = f"{package}/_fleet_{number}.py"
                body = f"@write {path}\n{plus(function, number)}@end"
                yield task(f"module-{number}", body + test_of(project, path, function, number))


def before(spot: Place, new: str) -> str:
    line = f"def {spot.name}("
    return f"@replace {spot.path}\n{line}\n@with\n{new}{line}\n@end"


def plus(name: str, number: int) -> str:
    return f"def {name}(number):\n    return number + {number}\n"


def test_of(project: Project, path: str, function: str, number: int) -> str:
    parts = Path(path.removeprefix("src/")).with_suffix("").parts
    file = Path(project.tests) / f"test_fleet{function}.py"
    return (
        f"\n@write {file}\nfrom {'.'.join(parts)} import {function}\n\n\n"
        f"def test{function}():\n    assert {function}(40) == {40 + number}\n@end"
    )


def task(id_: str, script: str, **more: object) -> dict[str, object]:
    return {"id": id_, "title": f"Do {id_}", "prompt": f"{script}\n", **more}


def run_suite(project: Project, name: str, breakage: tuple[Place, ...] = ()) -> Suite:
    """The project's own tests in a fresh clone of main; with functions broken, until one fails."""
    clone = project.repository.with_name(name)
    output(["git", "clone", "-q", "--branch", "main", ".", str(clone)], project.repository)
    for place in breakage:
        with (clone / place.path).open("a", encoding="utf-8") as file:
            file.write(place.broken)
    argv = [str(project.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *project.arguments]
    began = time.monotonic()
    done = run([*argv, *(["-x"] if breakage else [])], clone, PYTHONPATH=str(clone / "src"))
    took = time.monotonic() - began
    lines = (done.stdout.strip() or done.stderr.strip() or "silence").splitlines()
    return Suite(code=done.returncode, seconds=took, said=lines[-1].strip("= "))


def commit(repository: Path, message: str) -> None:
    output(["git", "add", "--all", "--force"], repository)
    identity = ["-c", "user.name=Real project", "-c", "user.email=real@localhost"]
    output(["git", *identity, "commit", "-q", "-m", message], repository)


def fleet(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "fleet", *arguments], project.repository)


def run(argv: Sequence[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, **env}
    return subprocess.run(argv, cwd=cwd, env=whole, check=False, capture_output=True, text=True)


def output(argv: Sequence[str], cwd: Path) -> str:
    done = run(argv, cwd)
    if done.returncode:
        raise Unfit(f"{shlex.join(argv)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
