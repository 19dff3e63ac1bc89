"""The agents a fleet can start: `agents/NAME.toml`, shipped with fleet or written by its user.

A user's file replaces the shipped one of the same name. Placeholders are filled word by word,
once: what a value says is never looked at again, and no shell sees any of it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.config import ALWAYS_SECRET, wrong_glob
from fleet.core.errors import Problem
from fleet.core.profile import Api, OutputFormat, Profile, PromptBy, SteerBy
from fleet.core.table import Table, did_you_mean, in_order, shown
from fleet.core.toml import Document, parse
from fleet.store.taskfiles import contents

PLACEHOLDERS = frozenset(
    {
        "agents",
        "attempt",
        "model",
        "prompt",
        "prompt_file",
        "python",
        "session",
        "task",
        "workspace",
    }
)
SECRET = frozenset({"proxy", "token"})  # everybody on the machine can read a command line
IN_FILES = frozenset({"workspace", "model"}) | SECRET  # other braces in a file are its own
_PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z_]+)\}")  # ${name} is for a shell the command starts
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StopSignal(StrEnum):
    """What an agent is sent first. TERM and KILL follow in any case."""

    INT = "INT"
    TERM = "TERM"
    HUP = "HUP"
    QUIT = "QUIT"
    USR1 = "USR1"
    USR2 = "USR2"
    KILL = "KILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    by_name: Mapping[str, Profile]
    problems: tuple[Problem, ...] = ()


def load(shipped: Path, own: Path, secrets: Collection[str] = ALWAYS_SECRET) -> Profiles:
    """Every profile that can be used, and what is wrong with the others. `secrets` are the
    variables that only the proxy may see."""
    by_name: dict[str, Profile] = {}
    problems: list[Problem] = []
    folders = [(shipped, str(shipped)), (own, own.name)]
    if own.exists() and shipped.exists() and own.samefile(shipped):
        del folders[0]  # fleet at work on itself
    for folder, called in folders:
        for path, name, raw in contents(folder, called):
            by_name.pop(path.stem, None)
            before = len(problems)
            document = parse(raw, name) if isinstance(raw, bytes) else raw
            if isinstance(document, Problem):
                problems.append(document)
                continue
            profile = _profile(document, path, problems, secrets)
            if len(problems) == before:
                by_name[profile.name] = profile
    return Profiles(by_name=by_name, problems=in_order(problems))


def fill(profile: Profile, **values: str) -> tuple[str, ...]:
    """The words to start. Without a model, the word that asks for it is left out, and so is the
    option right before a lone `{model}`."""
    return _words(profile.command, profile, values)


def fill_resume(profile: Profile, **values: str) -> tuple[str, ...]:
    """The words to go on with."""
    return _words(profile.resume, profile, values)


def _words(command: Iterable[str], profile: Profile, values: Mapping[str, str]) -> tuple[str, ...]:
    words: list[str] = []
    before = ""
    for word in command:
        if "{model}" in word and not values.get("model"):
            if word == "{model}" and before.startswith("-"):
                words.pop()
        else:
            words.append(_filled(word, profile, values))
        before = word
    return tuple(words)


def env_of(profile: Profile, **values: str) -> dict[str, str]:
    return {name: _filled(text, profile, values) for name, text in profile.env.items()}


def files_of(profile: Profile, **values: str) -> dict[str, str]:
    """What goes into the private HOME."""
    known = {name: value for name, value in values.items() if name in IN_FILES}
    return {
        name: _PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), content)
        for name, content in profile.files.items()
    }


def missing_program(profile: Profile, path: str) -> str:
    """The program, or script beside the profile, that is not there; "" if nothing is missing.

    A program with a relative path is looked for in the workspace, so not here.
    """
    program, *rest = (_filled(word, profile, {}) for word in profile.command)
    found = (
        os.access(program, os.X_OK) or not Path(program).is_absolute()
        if "/" in program
        else shutil.which(program, path=path)
    )
    if not found:
        return program
    scripts = [word for word in rest if word.startswith(f"{profile.folder}/")]
    return next((script for script in scripts if not Path(script).is_file()), "")


def _filled(text: str, profile: Profile, values: Mapping[str, str]) -> str:
    known = {"python": sys.executable, "agents": profile.folder, **values}
    return _PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), text)


# -- reading one --------------------------------------------------------------------------------


def _profile(
    document: Document, path: Path, problems: list[Problem], secrets: Collection[str]
) -> Profile:
    table = Table(document.data, document, problems)
    if not _NAME.fullmatch(path.stem):
        what = f"{shown(path.stem)} is no name for an agent"
        problems.append(
            Problem(where=document.name, what=what, fix="rename the file: a-z, 0-9, '.', '_', '-'")
        )
    stop = table.table("stop")
    profile = Profile(
        name=path.stem,
        command=table.texts("command"),
        api=tuple(map(Api, dict.fromkeys(table.texts("api", wrong=_wrong_api)))),
        prompt=table.choice("prompt", PromptBy.STDIN),
        env=table.mapping("env", wrong=_wrong_variable),
        pass_env=table.texts(
            "pass_env", wrong=lambda name: _wrong_variable(name) or _held(name, secrets)
        ),
        files=table.mapping("files", wrong=_wrong_place),
        output=table.choice("output", OutputFormat.TEXT),
        litter=table.texts("litter", wrong=wrong_glob),
        resume=table.texts("resume"),
        steer=table.choice("steer", SteerBy.PROXY),
        model=table.text("model", limit=200),
        stop_signal=stop.choice("signal", StopSignal.TERM),
        stop_grace_s=stop.seconds("grace", 10.0, high=600.0),
        success_exit=table.integers("success_exit", low=0, high=255),
        source=document.name,
        folder=str(path.parent.absolute()),
    )
    table.text("description")  # for people
    stop.finish()
    table.finish()
    if not document.data.get("command"):
        table.report("command", "command is missing or empty", 'such as command = ["claude", "-p"]')
    for key, what, fix in _wrong_placeholders(profile):
        table.report(key, what, fix)
    return profile


def _wrong_placeholders(profile: Profile) -> Iterator[tuple[str, str, str]]:
    in_command = _placeholders((*profile.command, *profile.resume))
    in_env = _placeholders(profile.env.values())
    in_files = _placeholders(profile.files.values())
    for key, used, known in (
        ("command", in_command, PLACEHOLDERS),
        ("env", in_env, PLACEHOLDERS | SECRET),
    ):
        for name in used:
            if name not in PLACEHOLDERS | SECRET:
                yield key, f"unknown placeholder {{{name}}}", did_you_mean(name, known)
    yield from _misplaced_secrets(profile, in_command, {"env": in_env, "files": in_files})
    if profile.resume and "session" not in _placeholders(profile.resume):
        yield "resume", "resume names no {session}", "it is the id of what is to go on"
    if (profile.steer is SteerBy.STDIN) != (profile.prompt is PromptBy.MESSAGES):
        what = f'steer = "{SteerBy.STDIN}" and prompt = "{PromptBy.MESSAGES}" need each other'
        yield "steer", what, "set both, or neither"
    if "prompt" in in_env:
        yield (
            "env",
            "{prompt} can only stand in command",
            'or use prompt = "file" and {prompt_file}',
        )
    for by, name, used in (
        (PromptBy.ARGUMENT, "prompt", in_command),
        (PromptBy.FILE, "prompt_file", {**in_command, **in_env}),
    ):
        if name in used and profile.prompt is not by:
            what = f'{{{name}}} is only filled in with prompt = "{by}"'
            yield "command", what, f'set prompt = "{by}", or take {{{name}}} out'
        if name not in used and profile.prompt is by:
            what = f'prompt = "{by}", but {{{name}}} is not in command: the agent would not get it'
            yield "prompt", what, f'put "{{{name}}}" into command'


def _misplaced_secrets(
    profile: Profile, in_command: Collection[str], elsewhere: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, str, str]]:
    for name in sorted(SECRET.intersection(in_command)):
        yield (
            "command",
            f"{{{name}}} cannot stand in command, which everybody on this machine can read",
            "put it into env or files",
        )
    for key, used in elsewhere.items():
        for name in sorted(SECRET.intersection(used)):
            if not profile.api:
                what = f"{{{name}}} is only there for an agent that needs a model"
                yield key, what, f'add api = ["{Api.ANTHROPIC}"], or take {{{name}}} out'


def _wrong_api(name: str) -> str:
    known = [str(api) for api in Api]
    return "" if name in known else f"is none of {', '.join(known)}"


def _held(name: str, secrets: Collection[str]) -> str:
    if name not in secrets:
        return ""
    api, given = _GIVEN.get(name, ("anthropic", "ANTHROPIC_BASE_URL"))
    return (
        f'is a key, which only the proxy holds: say api = ["{api}"] instead, and the agent gets '
        f"{given} and a token of its own for it"
    )


_GIVEN = {
    "OPENAI_API_KEY": (Api.OPENAI, "OPENAI_BASE_URL"),
    "GEMINI_API_KEY": (Api.GEMINI, "GOOGLE_GEMINI_BASE_URL"),
    "GOOGLE_API_KEY": (Api.GEMINI, "GOOGLE_GEMINI_BASE_URL"),
}


def _placeholders(texts: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(name for text in texts for name in _PLACEHOLDER.findall(text))


def _wrong_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        return "is no name of a variable"
    return "is fleet's own to set" if name.startswith("FLEET_") else ""


def _wrong_place(name: str) -> str:
    if name.startswith(("/", "~")) or ".." in name.split("/"):
        return "is not inside HOME: give a path relative to it"
    plain = name.isprintable() and name.strip("/. ") and not name.endswith("/")
    return "" if plain else "is no name of a file"
