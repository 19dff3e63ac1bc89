"""Mutated files for everything that reads files: only our own errors, and none that takes long.

    python -m tests.chaos.fuzz [--inputs 1000000] [--seed 1] [--processes 2]

Read are the files a person writes (tasks, fleet.toml, profiles of agents, scripts of models,
.worktreeinclude) and those of ours that somebody may have damaged. Each may take 50 ms of CPU and
50 MB, or so much for each 32 KiB of it (8 where every line is
judged alone). What breaks a rule is printed with what it takes to do it
again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fleet import config
from fleet.core.errors import FleetError
from fleet.core.globs import matches, overlap
from fleet.core.profile import OutputFormat
from fleet.gate.codec import report_of_json
from fleet.gate.pytest_report import read_report
from fleet.process.transcript import read
from fleet.proxy.recording.exchange import decode
from fleet.proxy.script import parse as parse_script
from fleet.store import profiles, proxyfile, stories, taskfiles
from fleet.store.layout import Layout
from fleet.worker.story.reading import listener
from tests.chaos.mutations import BOMBS, mutated, restructured

ROOT = Path(__file__).parents[2]
CPU_S, MEMORY_KB = 0.050, 50 * 1024
TRIES = 4  # of an input that took long: the machine may have been at fault
DEEP = "/".join(["a" * 20] * 30) + "/x.py"  # a path that globs are held against
PLAIN_ENV = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of file: good ones to begin with, and what reads them."""

    seeds: tuple[bytes, ...]
    read: Callable[[Path, bytes], None]
    toml: bool = True
    size: int = 32 << 10  # a larger one may take so many times longer


# -- what is read ---------------------------------------------------------------------------------


def _tasks(folder: Path, data: bytes) -> None:
    place = folder / "tasks.toml"
    place.write_bytes(data)
    for task in taskfiles.load(place).tasks:
        task.headline.encode()
        task.of_json(task.as_json())
        matches(DEEP, task.paths)
        overlap(task.paths, ("a/**/b*c", "*"))


def _config(folder: Path, data: bytes) -> None:
    (folder / "fleet.toml").write_bytes(data)
    config.load(folder, PLAIN_ENV)


def _profile(folder: Path, data: bytes) -> None:
    own = folder / "agents"
    own.mkdir(exist_ok=True)
    (own / "one.toml").write_bytes(data)
    for profile in profiles.load(folder / "none", own).by_name.values():
        values = {"prompt": "{model}{prompt}", "model": "m", "token": "t", "workspace": "/w"}
        profiles.fill(profile, **values)
        profiles.fill_resume(profile, **values)
        profiles.env_of(profile, **values)
        profiles.files_of(profile, **values)
        profiles.missing_program(profile, "/usr/bin")


def _script(_: Path, data: bytes) -> None:
    parse_script(data, "model.toml")


def _proxy_file(folder: Path, data: bytes) -> None:
    path = folder / "proxy.json"
    path.write_bytes(data)
    found = proxyfile.read(path)
    assert found is None or 0 < found.port < 65_536


def _story(folder: Path, data: bytes) -> None:
    layout = Layout(common_dir=folder, top=folder, cache=folder)
    path = layout.story("one", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = stories.find(layout, "one", 1)
    if found is not None:
        assert isinstance(found.said + found.error + found.model + found.session, str)
        assert isinstance(found.turns + found.tool_calls + found.usage.total_input, int)


def _gate_report(_: Path, data: bytes) -> None:
    try:
        report_of_json(data.decode("utf-8", "replace"))
    except ValueError:
        return


def _pytest_report(_: Path, data: bytes) -> None:
    read_report(data, "n")


def _recording(_: Path, data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        return


def _transcript(folder: Path, data: bytes) -> None:
    path = folder / "transcript.log"
    path.write_bytes(data[:40])
    path.with_name("transcript.log.tail.0").write_bytes(data)
    read(path)


def _talk(_: Path, data: bytes) -> None:
    for output in OutputFormat:
        heard = listener(output)
        if heard is not None:
            heard.hear(data)
            heard.finish()


TASKS = b"""\
[[tasks]]
id = "one"
title = "First"
prompt = \"\"\"
Do this.
\"\"\"
priority = 0
paths = ["src/**", "tests/test_*.py"]
timeout = "1h30m"
budget_usd = 2.5
gate = ["pytest -q tests/one", "ruff check 'a b'"]
labels = ["x", "y"]
tests = "may-change"

[[tasks]]
id = "two"
prompt = 'Do that'
depends_on = ["one"]
agent = "mini"
model = "m-1"
max_attempts = 2
status = "failed"
failure_reason = "it broke"
"""
CONFIG = b"""\
[fleet]
agents = 4
agent = "mini"
timeout = "30m"
retry_delay = 0.5
[workspace]
setup = ["python -m venv {env}", "pip install ."]
lock_files = ["uv.lock"]
[gate]
commands = ["pytest -n 2", "ruff check ."]
protected = ["**/conftest.py", "!x"]
[landing]
batch = 4
[budget]
run_usd = 5
day_usd = 20.5
[loops]
same_call = 5
[proxy]
port = 8123
dedup = "session"
[proxy.upstreams.one]
kind = "anthropic"
url = "https://api.example.com/v1"
keys = ["ONE_KEY", "TWO_KEY"]
models = ["claude-*"]
[[proxy.limits]]
upstream = "one"
requests_per_minute = 50
[proxy.prices."m-1"]
input = 3
output = 15.0
"""
SCRIPT = b"""\
models = ["m-1"]
[[rules]]
when = '(?i)hello, I am (?P<name>\\w+)'
text = "Hello {name}."
[[rules]]
prompt = 'off by one'
turn = 2
times = 2
error = 529
retry_after = 1
[[tasks]]
prompt = 'fix (?P<file>\\S+)'
steps = [
  { text = "Look.", tool = "bash", input = { command = "cat {file}" }, pace = "0.1s" },
  { text = "Done.", usage = { input = 10, output = 5 } },
]
"""
REPORT = b"""\
{"is":"selected","never":2,"first":["a","b"],"deselected":0}
{"is":"running","id":"t.py::a"}
{"is":"test","id":"t.py::a","outcome":"failed","message":"m","path":"t.py","line":3}
{"is":"collection","id":"u.py","outcome":"failed","message":"m","path":"u.py","line":1}
{"is":"interrupted","why":"ctrl-c"}
{"is":"end","nonce":"n","status":1,"finished":true}
"""
TALK = b"""\
warning: something
{"type":"system","subtype":"init","session_id":"s","model":"m"}
{"type":"assistant","message":{"id":"1","usage":{"input_tokens":5,"output_tokens":7},"content":[{"type":"tool_use"}]}}
{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"ok","total_cost_usd":0.5}
{"type":"turn.completed","usage":{"input_tokens":5,"cached_input_tokens":2,"output_tokens":1}}
{"type":"turn.failed","error":{"message":"{\\"error\\":{\\"message\\":\\"no\\"}}"}}
{"type":"step_finish","sessionID":"s","part":{"tokens":{"input":1,"output":2,"cache":{"read":1}},"cost":0.1}}
"""
OTHERS = {
    "proxy.json": b'{"port": 8123, "metrics_port": 8124, "pid": 12, "started": 345}',
    "story.json": json.dumps(
        {
            "session": "s", "model": "m", "turns": 3, "tool_calls": 2, "cost_usd": 0.5,
            "usage": {"input": 1, "cache_read": 2, "output": 3}, "ended": True, "error": "",
            "said": "done",
        }
    ).encode(),
    "gate.json": json.dumps(
        {
            "verdict": "fail", "seconds": 1.5, "note": "", "flaky": [], "touched": ["a"],
            "restored": [], "findings": [{"check": "c", "message": "m", "path": "p", "line": 1}],
        }
    ).encode(),
    "recording": json.dumps(
        {
            "format": 1, "request": {"method": "POST", "target": "/v1", "headers": [["a", "b"]],
            "body": "x"}, "answer": {"status": 200, "at": 0.1, "headers": [], "pieces":
            [{"at": 0.2, "data": {"base64": "eHg="}}]}, "end": {"at": 0.3},
        }
    ).encode(),
}  # fmt: skip


def targets() -> dict[str, Target]:
    own = sorted((ROOT / "agents").glob("*.toml"))
    return {
        "tasks": Target((TASKS, *_files("tasks/*.toml")), _tasks),
        "fleet.toml": Target((CONFIG, *_files("fleet.toml")), _config),
        "agents": Target(tuple(path.read_bytes() for path in own), _profile),
        "model.toml": Target((SCRIPT,), _script),
        "proxy.json": Target((OTHERS["proxy.json"],), _proxy_file, toml=False),
        "story.json": Target((OTHERS["story.json"],), _story, toml=False),
        "gate.json": Target((OTHERS["gate.json"],), _gate_report, toml=False),
        "report.jsonl": Target((REPORT,), _pytest_report, toml=False, size=8 << 10),
        "recording": Target((OTHERS["recording"],), _recording, toml=False),
        "transcript": Target((REPORT, TALK), _transcript, toml=False),
        "talk": Target((TALK,), _talk, toml=False, size=8 << 10),
    }


def _files(pattern: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(ROOT.glob(pattern)))


# -- the run --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    inputs: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    broken: list[str] = field(default_factory=list)
    by_target: Counter[str] = field(default_factory=Counter)

    def told(self) -> dict[str, object]:
        slowest = f"{self.slowest_s * 1000:.0f} ms for its size: {self.slowest}"
        counts = dict(sorted(self.by_target.items()))
        broken = len(self.broken)
        return {"inputs": self.inputs, "broken": broken, "slowest": slowest, "each": counts}

    def add(self, other: Found) -> None:
        self.inputs += other.inputs
        self.broken += other.broken
        self.by_target += other.by_target
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


def fuzz(folder: Path, *, inputs: int, seed: int, thorough: bool = True) -> Found:
    """So many, spread over all targets; the bombs first, for each of them, or each for one."""
    found, known = Found(), targets()
    names = sorted(known)
    documents = {name: _documents(target) for name, target in known.items() if target.toml}
    for number, bomb in enumerate(BOMBS):
        for name in names if thorough else names[number % len(names) :][:1]:
            _try(folder, known[name], bomb, f"{name} bomb {number}", found)
            found.by_target[name] += 1
    for number in range(inputs - found.inputs):
        rng = random.Random(f"{seed}.{number}")
        name = names[number % len(names)]
        target = known[name]
        if target.toml and rng.random() < 0.4:
            data = restructured(rng, rng.choice(documents[name]))
        else:
            data = mutated(rng, target.seeds)
        found.by_target[name] += 1
        _try(folder, target, data, f"{name} {seed}.{number}", found)
    return found


def _documents(target: Target) -> list[dict[str, object]]:
    return [tomllib.loads(seed.decode()) for seed in target.seeds]


def _try(folder: Path, target: Target, data: bytes, what: str, found: Found) -> None:
    found.inputs += 1
    allowed = max(1.0, len(data) / target.size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = _cpu(folder, target, data, what, found)
    for _ in range(TRIES):
        if seconds <= CPU_S * allowed:
            break
        seconds = min(seconds, _cpu(folder, target, data, what, found))
    else:
        found.broken.append(f"{what}: {len(data)} bytes took {seconds * 1000:.0f} ms")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > MEMORY_KB * allowed:
        found.broken.append(f"{what}: {len(data)} bytes took {grown // 1024} MB")
    if seconds / allowed > found.slowest_s:
        found.slowest_s, found.slowest = seconds / allowed, what


def _cpu(folder: Path, target: Target, data: bytes, what: str, found: Found) -> float:
    began = time.process_time()
    try:
        target.read(folder, data)
    except FleetError:
        pass
    except Exception as error:
        found.broken.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    return time.process_time() - began


def _share(arguments: tuple[int, int, bool]) -> Found:
    inputs, seed, thorough = arguments
    shm = Path("/dev/shm")  # a file for each input need not reach a disk
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        return fuzz(Path(folder), inputs=inputs, seed=seed, thorough=thorough)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rounds = max(options.processes, options.inputs // 20_000)
    shares = [(options.inputs // rounds, options.seed * 1000 + n, n == 0) for n in range(rounds)]
    whole = Found()
    with multiprocessing.Pool(options.processes) as pool:
        for found in pool.imap_unordered(_share, shares):
            whole.add(found)
            for broken in found.broken:
                sys.stdout.write(broken + "\n")
                sys.stdout.flush()
    sys.stdout.write(json.dumps(whole.told()) + "\n")
    return 1 if whole.broken else 0


if __name__ == "__main__":
    sys.exit(main())
