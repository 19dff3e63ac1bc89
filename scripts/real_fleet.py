"""A fleet of real coding agents on the demo's sixteen tasks, offline, measured.

Printed are what landed, the memory of each agent's processes, what the proxy saw, how much of
their requests is byte for byte the same for all, and the time between a claim and its verdict in
which the agent did not run. The model is the demo's script: it answers at once and for nothing, so
wall times are those of the agents' own programs, of fleet and of the gate.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.demo_run import git, make_repository

AGENTS = Path(__file__).resolve().parent.parent / ".agents" / "bin"
MARK = b"FLEET_ATTEMPT="
SAMPLE_S = 0.25
SHARED_MEMBERS = ("system", "instructions", "tools")  # what comes before the conversation


def main() -> int:
    parser = argparse.ArgumentParser(prog="real-fleet", description="Measure real agents.")
    parser.add_argument("--agents", type=int, default=8, help="how many at once")
    parser.add_argument("--agent", default="claude", help="profiles, by commas: task by task")
    parser.add_argument("--keep", action="store_true", help="keep the repository and say where")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fleet-real-"))
    try:
        return measure(folder, options.agent.split(","), options.agents)
    finally:
        if options.keep:
            print(f"\nkept: {folder / 'textkit'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, profiles: Sequence[str], agents: int) -> int:
    repository, recording = folder / "textkit", folder / "recording"
    env = {
        **os.environ,
        "PATH": f"{AGENTS}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    if os.geteuid() == 0:
        env["IS_SANDBOX"] = "1"  # Claude Code runs as root only in one
    make_repository(repository, env)
    give_out(repository, profiles, env)
    command = [sys.executable, "-m", "fleet", "run", "--agents", str(agents), "--json"]
    began = time.monotonic()
    with Memory(str(folder)).sampled() as memory:
        done = subprocess.run(
            [*command, "--record", str(recording)],
            cwd=repository,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    wall = time.monotonic() - began
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    stories = attempts_of(events)
    if not stories:
        print(done.stdout, file=sys.stderr)
        return 2
    landed = sum(event["kind"] == "landed" for event in events)
    print(f"{agents} agents, 16 tasks of which 14 can land: {landed} landed in {wall:.0f} s,")
    print(f"in {len(stories)} attempts; exit code {done.returncode}")
    show_memory(memory.peaks, stories)
    show_wire(repository, env)
    show_prefixes(recording)
    show_time(stories)
    return 0 if landed == 14 else 1


def give_out(repository: Path, profiles: Sequence[str], env: Mapping[str, str]) -> None:
    file = repository / "tasks" / "textkit.toml"
    turn = itertools.cycle(profiles)
    text = re.sub(
        r'^id = "[^"]+"$', lambda m: f'{m[0]}\nagent = "{next(turn)}"', file.read_text(), flags=re.M
    )
    file.write_text(text)
    who = ("-c", "user.name=Demo", "-c", "user.email=demo@localhost")
    git([*who, "commit", "-qam", f"Agents: {', '.join(profiles)}"], repository, dict(env))


# -- memory --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Memory:
    """The highest memory of each attempt's processes seen: proportional set sizes, in MiB."""

    folder: str  # of the run: others on this machine are not ours
    peaks: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def sampled(self) -> Iterator[Memory]:
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_S):
                self.sample()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def sample(self) -> None:
        now: defaultdict[str, float] = defaultdict(float)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environ = (entry / "environ").read_bytes()
                at = environ.find(MARK)
                if at < 0 or self.folder.encode() not in environ:
                    continue
                attempt = environ[at + len(MARK) :].partition(b"\0")[0].decode()
                rollup = (entry / "smaps_rollup").read_text()
            except OSError:  # it has ended
                continue
            pss = re.search(r"^Pss:\s+(\d+)", rollup, re.M)
            now[attempt] += int(pss[1]) / 1024 if pss else 0.0
        for attempt, size in now.items():
            self.peaks[attempt] = max(self.peaks.get(attempt, 0.0), size)


# -- what happened -------------------------------------------------------------------------------


@dataclass(slots=True)
class Attempt:
    agent: str = ""
    claimed: float = 0.0
    running: float = 0.0
    ended: float = 0.0
    gate_s: float = 0.0
    over: float = 0.0


def attempts_of(events: Sequence[Mapping[str, object]]) -> dict[str, Attempt]:
    found: defaultdict[str, Attempt] = defaultdict(Attempt)
    for event in events:
        if not event.get("epoch"):
            continue
        story, at = found[f"{event['task']}.{event['epoch']}"], float(str(event["at"]))
        match event["kind"]:
            case "claimed":
                story.claimed = at
            case "running":
                story.running, story.agent = at, str(event.get("agent", ""))
            case "agent-ended":
                story.ended = at
            case "gated":
                story.gate_s = float(str(event.get("number", 0.0)))
                story.over = at
            case "returned" | "ended" | "landed":
                story.over = at
    return {key: story for key, story in found.items() if story.running and story.ended}


def show_memory(peaks: Mapping[str, float], stories: Mapping[str, Attempt]) -> None:
    print("\nmemory of an attempt's processes (proportional set size, highest of samples)")
    sizes: defaultdict[str, list[float]] = defaultdict(list)
    for attempt, peak in peaks.items():
        for key, story in stories.items():
            if attempt.endswith(key):
                sizes[story.agent].append(peak)
    for agent, found in sorted(sizes.items()):
        middle = statistics.median(found)
        print(f"  {agent:<12} median {middle:.0f} MiB, highest {max(found):.0f}, of {len(found)}")


def show_wire(repository: Path, env: Mapping[str, str]) -> None:
    print("\nas the proxy saw it")
    sys.stdout.flush()
    stats = [sys.executable, "-m", "fleet", "proxy", "stats"]
    subprocess.run(stats, cwd=repository, env=dict(env), check=False)


def show_prefixes(recording: Path) -> None:
    print("\nwhat comes before the conversation, byte for byte")
    found: defaultdict[str, defaultdict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    asked: defaultdict[str, int] = defaultdict(int)
    for path in recording.rglob("*.json"):
        request = json.loads(path.read_text())["request"]
        headers = {name.lower(): value for name, value in request["headers"]}
        client = headers.get("user-agent", "?").split("/")[0]
        body = json.loads(request["body"])
        asked[client] += 1
        for name in SHARED_MEMBERS:
            if name in body:
                found[client][name].add(json.dumps(body[name], ensure_ascii=False).encode())
    for client, members in sorted(found.items()):
        for name, values in members.items():
            sizes = ", ".join(f"{len(value):,} bytes" for value in sorted(values, key=len)[:5])
            print(
                f"  {client:<12} {name:<12} {asked[client]} requests, {len(values)} kinds: {sizes}"
            )


def show_time(stories: Mapping[str, Attempt]) -> None:
    print("\nseconds of an attempt, median (highest)")
    parts = {
        "claim to agent": [story.running - story.claimed for story in stories.values()],
        "agent": [story.ended - story.running for story in stories.values()],
        "gate": [story.gate_s for story in stories.values() if story.gate_s],
        "waiting, merging and landing": [
            story.over - story.ended - story.gate_s for story in stories.values() if story.over
        ],
    }
    for name, found in parts.items():
        if found:
            print(f"  {name:<30} {statistics.median(found):.2f} ({max(found):.2f})")


if __name__ == "__main__":
    sys.exit(main())
