"""`fleet doctor`: is everything there that a fleet needs, and has it kept its promises?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say, say_json
from fleet.config import Config
from fleet.core.errors import Exit, FleetError

Finding = tuple[bool, str]


def doctor(
    *,
    audit: Annotated[bool, typer.Option("--audit", help="Check ledger and refs offline.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is there, what is missing, and what to do about it. Exit code 1 if anything is."""
    findings = list(_audit() if audit else _examine())
    if as_json:
        say_json([{"ok": ok, "what": what} for ok, what in findings])
    else:
        for ok, what in findings:
            say(f"{'ok ' if ok else 'BAD'}  {what}")
    if not all(ok for ok, _ in findings):
        raise typer.Exit(Exit.SOME_FAILED)


def _audit() -> Iterator[Finding]:
    from fleet.landing.audit import audit
    from fleet.wiring import open_fleet

    fleet = open_fleet(Path.cwd(), os.environ)
    breaches = audit(fleet)
    for breach in breaches:
        yield False, str(breach)
    if not breaches:
        counts = fleet.roster.counts()
        yield True, f"A1 to A6 hold over {counts.total} tasks, {counts.merged} of them landed"


def _examine() -> Iterator[Finding]:
    """Each step only when the one before it went well enough to ask."""
    from fleet.cli.opening import view
    from fleet.repo.git import require_version
    from fleet.store.profiles import missing_program

    try:
        yield True, f"git {require_version()}"
        seen = view()
    except FleetError as error:
        yield False, str(error)
        return
    yield True, f"repository {seen.layout.top}, state in {seen.layout.state}"
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
    yield from _processes()


def _gate(config: Config, top: Path) -> Iterator[Finding]:
    from fleet.gate.checks import find_tools, missing_tool
    from fleet.gate.proof import checks_of

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
    from fleet.repo.branch import Target
    from fleet.repo.git import locate

    try:
        branch = config.fleet.target or Target.current(locate(Path.cwd()).git_dir)
    except FleetError as error:
        yield False, str(error)
        return
    tip = Target(common_dir, branch).tip()
    yield tip is not None, f"branch {branch}" + ("" if tip else ": it has no commit")


def _processes() -> Iterator[Finding]:
    from fleet.process.tree import become_subreaper

    able = become_subreaper()
    yield (
        able,
        (
            "ending agents: subreaper and sweep (a process that clears its environment and "
            "outlives its worker can escape)"
            if able
            else "this system has no subreaper: daemons of agents may survive them"
        ),
    )
