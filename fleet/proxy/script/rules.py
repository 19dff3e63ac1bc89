"""The rules of a script, and which of them answers a question. Pure.

The same question gets the same answer, but for rules that answer only so many times. What a
regular expression named is put into the answer as text, once: nothing of it is looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from fleet.proxy.dialects.dialect import DialectName
from fleet.proxy.script.question import Question, Side

Groups = Mapping[str, str]


class Stop(StrEnum):
    END_TURN = "end_turn"
    TOOL_USE = "tool_use"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    PAUSE_TURN = "pause_turn"
    REFUSAL = "refusal"


class Cut(StrEnum):
    """Where the connection breaks."""

    NEVER = "never"
    BEFORE = "before"  # not a byte comes
    AFTER_HEADERS = "after-headers"
    MIDWAY = "midway"  # within an event


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    when: re.Pattern[str] | None = None  # the text of the last user turn
    when_result: re.Pattern[str] | None = None  # the last result of a tool
    prompt: re.Pattern[str] | None = None  # the user turn a task began with
    turn: int = 0  # 0: any
    model: str = ""  # a glob; "": any
    dialect: DialectName | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups that answers may use."""
        patterns = (self.prompt, self.when, self.when_result)
        return tuple(name for pattern in patterns if pattern for name in pattern.groupindex)


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    input: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Tokens an answer claims to have used; None is estimated."""

    input: int | None = None
    output: int | None = None
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    stop: Stop | None = None  # None: what follows from the answer
    spend: Spend = field(default_factory=Spend)
    pieces: int = 0  # 0: by their length
    chars_per_piece: int = 24
    delay_s: float = 0.0
    pace_s: float = 0.0
    error: int = 0  # a status; 0: none
    error_type: str = ""
    message: str = ""
    retry_after_s: float = 0.0
    cut: Cut = Cut.NEVER
    stall_s: float = 0.0
    garbage: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    condition: Condition
    answer: Answer
    times: int = 0  # 0: always


@dataclass(frozen=True, slots=True)
class Task:
    """A whole run: the nth step answers the nth turn after its prompt."""

    name: str
    condition: Condition
    steps: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Script:
    rules: tuple[Rule, ...] = ()
    tasks: tuple[Task, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    name: str  # of the rule; what calls are counted by
    answer: Answer


DONE = "Done."
DEFAULT = Choice("default", Answer(text=DONE))


def choose(script: Script, question: Question, answered: Mapping[str, int]) -> Choice:
    """Rules in their order, then tasks; `answered` says how often each has had its say."""
    for rule in script.rules:
        if rule.times and answered.get(rule.name, 0) >= rule.times:
            continue
        found = _match(rule.condition, question)
        if found is not None:
            return Choice(rule.name, _filled(rule.answer, rule.condition, found[1]))
    for task in script.tasks:
        found = _match(task.condition, question)
        if found is not None and found[0] <= len(task.steps):
            answer = _filled(task.steps[found[0] - 1], task.condition, found[1])
            return Choice(f"{task.name}.{found[0]}", answer)
    return DEFAULT


def _match(condition: Condition, question: Question) -> tuple[int, Groups] | None:
    """The turn, counted from the prompt, and what the groups caught; None if it is not met."""
    if condition.dialect not in (None, question.dialect):
        return None
    if condition.model and not fnmatchcase(question.model, condition.model):
        return None
    start, groups = 0, dict[str, str]()
    if condition.prompt is not None:
        began = _begin(condition.prompt, question)
        if began is None:
            return None
        start = began[0]
        groups.update(_caught(began[1]))
    turn = question.turn_since(start)
    if condition.turn not in (0, turn):
        return None
    last = question.last
    for pattern, texts in ((condition.when, (last.text,)), (condition.when_result, last.results)):
        if pattern is not None:
            found = pattern.search(texts[-1]) if texts else None
            if found is None:
                return None
            groups.update(_caught(found))
    return turn, groups


def _begin(prompt: re.Pattern[str], question: Question) -> tuple[int, re.Match[str]] | None:
    """The first user turn with the prompt in it: some clients begin with a conversation of
    their own making."""
    for number, turn in enumerate(question.turns):
        if turn.side is Side.USER and (found := prompt.search(turn.text)):
            return number, found
    return None


def _caught(found: re.Match[str]) -> Groups:
    return {name: text or "" for name, text in found.groupdict().items()}


def _filled(answer: Answer, condition: Condition, groups: Groups) -> Answer:
    names = condition.names
    if not names:
        return answer
    any_name = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    place = re.compile(rf"\$({any_name})(?![A-Za-z0-9_])|\{{({any_name})\}}")

    def fill(text: str) -> str:
        return place.sub(lambda found: groups.get(found[1] or found[2], ""), text)

    def fill_all(value: object) -> object:
        if isinstance(value, str):
            return fill(value)
        if isinstance(value, list):
            return [fill_all(item) for item in value]
        if isinstance(value, dict):
            return {key: fill_all(item) for key, item in value.items()}
        return value

    calls = tuple(
        Call(call.tool, {key: fill_all(item) for key, item in call.input.items()})
        for call in answer.calls
    )
    text, thinking, message = fill(answer.text), fill(answer.thinking), fill(answer.message)
    return replace(answer, text=text, thinking=thinking, message=message, calls=calls)
