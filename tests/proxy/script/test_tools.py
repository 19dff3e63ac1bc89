from __future__ import annotations

import pytest

from fleet.proxy.script.question import Tool
from fleet.proxy.script.rules import Call
from fleet.proxy.script.tools import fit

Schema = dict[str, object]
LS = Call("bash", {"command": "ls -l"})
TEXT: Schema = {"type": "string"}


def schema(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            Tool("Bash", schema(["command"], command=TEXT, timeout={"type": "number"})),
            {"command": "ls -l"},
        ),
        (Tool("exec_command", schema(["cmd"], cmd=TEXT, workdir=TEXT)), {"cmd": "ls -l"}),
        (
            Tool("shell", schema(["command"], command={"type": "array", "items": TEXT})),
            {"command": ["bash", "-lc", "ls -l"]},
        ),
        (
            Tool(
                "run_shell_command",
                schema(
                    ["command", "is_background", "description", "mode"],
                    command=TEXT,
                    is_background={"type": "BOOLEAN"},
                    description=TEXT,
                    mode={"type": "string", "enum": ["fast", "slow"]},
                ),
            ),
            {
                "command": "ls -l",
                "is_background": False,
                "description": "Run ls",
                "mode": "fast",
            },
        ),
        (
            Tool("terminal", schema(["line"], line=TEXT, command={"type": "object"})),
            {"line": "ls -l"},
        ),
        (Tool("bash", schema([], cmd={"type": ["string", "null"]})), {"cmd": "ls -l"}),
        (Tool("bash", {}), {"command": "ls -l"}),
    ],
)
def test_bash_is_whatever_shell_the_client_offers(tool: Tool, expected: Schema) -> None:
    offered = (Tool("Read", {}), tool, Tool("update_plan", {}))
    assert fit(LS, offered) == Call(tool.name, expected)


def test_the_exact_name_is_preferred() -> None:
    tools = (Tool("Bash", {}), Tool("shell", {}), Tool("bash", {}))
    assert fit(LS, tools) == LS
    assert fit(Call("shell", {"command": "a"}), tools) == Call("shell", {"command": "a"})


def test_other_arguments_are_kept_where_the_schema_knows_them() -> None:
    tool = Tool("exec_command", schema(["cmd"], cmd=TEXT, workdir=TEXT))
    asked = Call("bash", {"command": "ls", "workdir": "/tmp", "timeout": 5})
    assert fit(asked, (tool,)) == Call("exec_command", {"cmd": "ls", "workdir": "/tmp"})


def test_other_tools_are_called_as_they_are_written() -> None:
    edit = Call("edit", {"file_path": "a", "new": {"deep": [1]}})
    assert fit(edit, (Tool("Edit", schema(["x"], x=TEXT)),)) == Call("Edit", edit.input)
    assert fit(edit, (Tool("Bash", {}),)) is None


def test_without_a_shell_there_is_no_call() -> None:
    assert fit(LS, (Tool("Read", {}), Tool("BashOutput", {}))) is None
    assert fit(LS, ()) is None
