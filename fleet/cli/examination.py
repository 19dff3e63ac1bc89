"""What `fleet doctor` looks at, one finding after the other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fleet.cli import storage
from fleet.cli.opening import Seen, view
from fleet.config import Config, SandboxMode
from fleet.core.errors import FleetError
from fleet.core.profile import Profile
from fleet.core.task import TERMINAL
from fleet.gate.checks import find_tools, missing_tool
from fleet.gate.proof import checks_of
from fleet.landing.audit import audit
from fleet.process import cgroup
from fleet.process.sandbox.view import Rung
from fleet.process.tree import become_subreaper
from fleet.repo.branch import Target
from fleet.repo.git import locate, require_version
from fleet.store import proxyfile
from fleet.store.profiles import missing_program
from fleet.trial import Trial, Verdict
from fleet.wiring import open_fleet, sandbox_for
from fleet.worker.preflight import models_lacking

Finding = tuple[bool, str]  # whether it is well, and what was found


def audited() -> Iterator[Finding]:
    fleet = open_fleet(Path.cwd(), os.environ, mends=False, thorough=True)
    breaches = audit(fleet)
    for breach in breaches:
        yield False, str(breach)
    if not breaches:
        counts = fleet.roster.counts()
        yield True, f"A1 to A9 hold over {counts.total} tasks, {counts.merged} of them landed"


def tried() -> Iterator[Finding]:
    """The agents of the tasks, each at work on a scratch repository."""
    seen = view()
    used = {task.agent or seen.config.fleet.agent for task in seen.files.tasks}
    for name, profile in sorted(seen.profiles().items()):
        if name in used:
            with tempfile.TemporaryDirectory(prefix="fleet-trial-") as folder:
                trial = Trial(profile, {**os.environ, "PATH": seen.config.env.path}, Path(folder))
                for found in trial.findings():
                    well = found.verdict is not Verdict.FAILS
                    yield well, f"agent {name}: {found.part} {found.verdict}: {found.what}"


def examined() -> Iterator[Finding]:
    """Each step only when the one before it went well enough to ask."""
    try:
        yield True, f"git {require_version()}"
        seen = view()
    except FleetError as error:
        yield False, str(error)
        return
    yield True, f"repository {seen.layout.top}, state in {seen.layout.state}"
    yield from storage.examined(seen)
    yield True, f"fleet.toml: {seen.config.fleet.agents} agents"
    if seen.files.problems:
        for problem in seen.files.problems:
            yield False, str(problem)
    else:
        yield True, f"{len(seen.files.tasks)} tasks in {seen.task_folder}"
    yield from _branch(seen.config, seen.layout.common_dir)
    yield from _gate(seen.config, seen.layout.top)
    try:
        profiles = seen.profiles()
        seen.check_agents()
    except FleetError as error:
        yield False, str(error)
        return
    used = {task.agent or seen.config.fleet.agent for task in seen.files.tasks}
    for name in sorted(used):
        lacking = missing_program(profiles[name], seen.config.env.path)
        yield not lacking, f"agent {name}" + (f": {lacking!r} is not on PATH" if lacking else "")
    yield from _models(seen, profiles)
    yield from _walls(seen)


def _models(seen: Seen, profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """The proxy, whom it would ask, and whether a key is set; never the key."""
    address = proxyfile.live(seen.layout)
    at = f"listens on port {address.port}, pid {address.pid}" if address else "is not running"
    yield True, f"the proxy {at}"
    variables = seen.config.env.variables
    for upstream in seen.config.proxy.upstreams:
        keys = (
            f"{name} is {'set' if variables.get(name) else 'not set'}" for name in upstream.keys
        )
        where = ", ".join(upstream.urls) or upstream.script
        said = "; ".join(keys) or "no key"
        yield True, f"upstream {upstream.name} ({upstream.kind}, {where}): {said}"
    asked = []
    for entry in seen.tasks():
        profile = profiles.get(entry.task.agent or seen.config.fleet.agent)
        if profile is not None and entry.state not in TERMINAL:
            asked.append((profile, entry.task.model or profile.model))
    for lacking in models_lacking(seen.config, asked):
        yield bool(lacking.key and address), lacking.what  # a proxy that lives has its keys


def _gate(config: Config, top: Path) -> Iterator[Finding]:
    settings = config.gate
    try:
        checks = checks_of(settings.commands)
        tools = find_tools(wanted_python=settings.python, top=top, search=config.env.path)
    except FleetError as error:
        yield False, str(error)
        return
    for check in checks:
        missing = missing_tool(check, tools)
        yield not missing, f"gate: {check.name}" + (f": {missing}" if missing else "")
    yield True, f"tests run with {tools.python}"


def _branch(config: Config, common_dir: Path) -> Iterator[Finding]:
    try:
        branch = config.fleet.target or Target.current(locate(Path.cwd()).git_dir)
    except FleetError as error:
        yield False, str(error)
        return
    tip = Target(common_dir, branch).tip()
    yield tip is not None, f"branch {branch}" + ("" if tip else ": it has no commit")


def _walls(seen: Seen) -> Iterator[Finding]:
    """Which rung of each ladder is in use: the sandbox, and the ending of process trees."""
    try:
        sandbox = sandbox_for(seen.config, seen.layout)
    except FleetError as error:
        yield False, str(error)
        return
    off = seen.config.sandbox.mode is SandboxMode.OFF
    yield sandbox.rung is not Rung.NONE or off, f"sandbox: {sandbox}"
    able = become_subreaper()
    if sandbox.rung is Rung.BUBBLEWRAP:
        yield able, "ending agents: a process namespace of their own, which the kernel ends whole"
    elif cgroup.base() is not None:
        yield (
            able,
            f"ending agents: control groups beneath {cgroup.base()}, which the kernel ends whole",
        )
    elif able:
        yield (
            True,
            (
                "ending agents: subreaper and sweep (a process that clears its environment and "
                "outlives its worker can escape; bubblewrap, or control groups, would hold it)"
            ),
        )
    else:
        yield False, "this system has no subreaper: daemons of agents may survive them"
