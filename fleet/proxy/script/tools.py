"""A tool call as this client can make it. Pure.

Every coding agent has a shell tool, and each calls it by another name: a script says "bash" and
means whichever is offered. Its command goes where the tool's schema wants it, and what else that
schema requires gets a value that means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet.proxy.dialects.lenient import Object, arr, obj, text
from fleet.proxy.script.question import Tool
from fleet.proxy.script.rules import Call

SHELLS = (
    "bash",
    "shell",
    "exec_command",
    "run_shell_command",
    "shell_command",
    "local_shell",
    "execute_bash",
    "execute_command",
    "run_command",
    "run_terminal_cmd",
    "terminal",
)
COMMANDS = ("command", "cmd", "commands", "script", "input")
_WHAT = ("description", "explanation", "justification", "reason")
_NOTHING: Mapping[str, object] = {
    "boolean": False,
    "integer": 0,
    "number": 0,
    "string": "",
    "array": [],
    "object": {},
}


def fit(call: Call, tools: Sequence[Tool]) -> Call | None:
    """None if the client has nothing that could be meant."""
    tool = next((tool for tool in tools if tool.name == call.tool), None)
    low = call.tool.lower()
    if tool is None:
        tool = next((tool for tool in tools if tool.name.lower() == low), None)
    if tool is None and low in SHELLS:
        tool = _shell(tools)
    if tool is None:
        return None
    if low in SHELLS:
        return Call(tool.name, _arguments(call.input, tool.schema))
    return Call(tool.name, call.input)


def _shell(tools: Sequence[Tool]) -> Tool | None:
    named = {tool.name.lower(): tool for tool in reversed(tools)}
    return next((named[shell] for shell in SHELLS if shell in named), None)


def _arguments(given: Mapping[str, object], schema: Mapping[str, object]) -> Object:
    known = {name: obj(value) for name, value in obj(schema.get("properties")).items()}
    required = [name for name in map(text, arr(schema.get("required"))) if name in known]
    key = next((name for name in COMMANDS if name in given), "")
    command = given.get(key)
    if not known or not isinstance(command, str):
        return dict(given)
    place = _place(key, known, required)
    if place is None:
        return dict(given)
    rest = {
        name: value for name, value in given.items() if name in known and name not in (key, place)
    }
    wanted = _kind(known[place])
    found: Object = {place: ["bash", "-lc", command] if wanted == "array" else command, **rest}
    for name in required:
        found.setdefault(name, _neutral(name, known[name], command))
    return found


def _place(key: str, known: Mapping[str, Object], required: Sequence[str]) -> str | None:
    """The argument the command goes into: the one of that name, or the first that is required."""
    for name in (key, *required, *COMMANDS):
        if name in known and _kind(known[name]) in ("string", "array", ""):
            return name
    return next((name for name in known if _kind(known[name]) == "string"), None)


def _kind(schema: Object) -> str:
    """ "" when it is not said. A list of types is one of them and null."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "")
    return text(kind).lower()  # Gemini writes them large


def _neutral(name: str, schema: Object, command: str) -> object:
    allowed = arr(schema.get("enum"))
    if allowed:
        return allowed[0]
    if name in _WHAT:
        return f"Run {command.split(maxsplit=1)[0]}" if command.strip() else "Run a command"
    return _NOTHING.get(_kind(schema), "")
