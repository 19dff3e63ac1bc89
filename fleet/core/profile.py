"""How to start one kind of agent. Agents are programs, not plug-ins: a profile is data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PromptBy(StrEnum):
    """How the prompt reaches the agent."""

    STDIN = "stdin"
    ARGUMENT = "argument"  # through {prompt} in the command
    FILE = "file"  # through {prompt_file} in the command
    MESSAGES = "stream-json"  # as a JSON message on stdin, which stays open for more of them


class OutputFormat(StrEnum):
    """Whose words an agent reports in."""

    TEXT = "text"
    JSONL = "jsonl"  # as our own `mini`
    CLAUDE = "claude"
    CODEX = "codex"
    OPENCODE = "opencode"
    GEMINI = "gemini"
    QWEN = "qwen"


class SteerBy(StrEnum):
    """How a note of the user reaches an agent at work."""

    PROXY = "proxy"  # within what it next asks its model
    STDIN = "stdin"  # as a message: only with PromptBy.MESSAGES
    NONE = "none"


class Api(StrEnum):
    """The model interface an agent speaks, and whose variables it reads."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One `agents/NAME.toml`. Placeholders are replaced word by word; no shell ever sees them."""

    name: str
    command: tuple[str, ...]
    api: tuple[Api, ...] = ()  # (): needs no model
    prompt: PromptBy = PromptBy.STDIN
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()  # names taken from the user's environment, on purpose
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # written into the private HOME, filled in
    output: OutputFormat = OutputFormat.TEXT
    litter: tuple[str, ...] = ()  # globs of what it leaves in its workspace that is no work
    resume: tuple[str, ...] = ()  # goes on with {session}; (): a new attempt starts afresh
    steer: SteerBy = SteerBy.PROXY
    model: str = ""
    stop_signal: str = "TERM"
    stop_grace_s: float = 10.0
    success_exit: tuple[int, ...] | None = None  # None: the diff and the gate decide, not the code
    source: str = ""
    folder: str = ""  # where the profile lies, for {agents}

    @property
    def names_session(self) -> bool:
        """The agent is told which id its session is to have; else it tells us."""
        return any("{session}" in word for word in self.command)
