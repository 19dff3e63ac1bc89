from __future__ import annotations

import pytest

from fleet.proxy.wire import Outgoing
from tests.proxy.script.asking import Json, ask, post, question, script
from tests.proxy.script.folding import said

DIALECTS = ("anthropic", "chat", "responses", "gemini")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def texts(toml: str, dialect: str, *asked: Outgoing) -> list[str]:
    return [said(dialect, heard.json).text for heard in ask(script(toml), *asked)]


def test_without_a_rule_it_is_done() -> None:
    upstream = script("")
    heard = ask(upstream, question("anthropic"))[0]
    assert said("anthropic", heard.json).text == "Done."
    assert upstream.calls == {"default": 1}


@every_dialect
def test_the_first_rule_that_matches_the_last_user_turn_answers(dialect: str) -> None:
    toml = """
    [[rules]]
    when = 'bug\\b'
    text = "first"
    [[rules]]
    when = 'bug'
    text = "second"
    [[rules]]
    text = "always"
    """
    asked = [question(dialect, prompt) for prompt in ("a bug here", "two bugs", "nothing")]
    assert texts(toml, dialect, *asked) == ["first", "second", "always"]


@every_dialect
def test_a_result_is_not_the_users_text(dialect: str) -> None:
    toml = """
    [[rules]]
    when = 'secret'
    text = "text"
    [[rules]]
    when_result = 'secret (\\w+)$'
    text = "result"
    """
    results = question(dialect, history=(("a", "secret a"), ("b", "secret b")))
    stale = question(dialect, history=(("a", "secret a"), ("b", "none")))
    found = texts(toml, dialect, results, stale, question(dialect, "secret a"))
    assert found == ["result", "Done.", "text"]


@every_dialect
def test_turns_are_those_of_the_assistant(dialect: str) -> None:
    toml = "".join(f'[[rules]]\nturn = {n}\ntext = "turn {n}"\n' for n in (1, 2, 3))
    histories = [tuple([("ls", "a")] * n) for n in range(4)]
    asked = [question(dialect, history=history) for history in histories]
    assert texts(toml, dialect, *asked) == ["turn 1", "turn 2", "turn 3", "Done."]


def test_calls_made_at_once_are_one_turn() -> None:
    call, output = {"type": "function_call"}, {"type": "function_call_output", "output": "x"}
    items: list[Json] = [{"role": "user", "content": "go"}, {"type": "reasoning"}]
    items += [call | {"call_id": n} for n in "ab"] + [output | {"call_id": n} for n in "ab"]
    toml = '[[rules]]\nturn = 2\ntext = "second"'
    asked = post("/v1/responses", {"model": "m", "input": items})
    assert texts(toml, "responses", asked) == ["second"]


@every_dialect
def test_the_prompt_tells_tasks_apart_for_as_long_as_they_run(dialect: str) -> None:
    toml = """
    [[rules]]
    prompt = 'fix (?P<what>\\w+)'
    turn = 2
    text = "{what} again"
    [[rules]]
    prompt = 'fix'
    text = "fixing"
    """
    asked = [question(dialect, "fix it", history=(("ls", "x"),) * n) for n in range(3)]
    assert texts(toml, dialect, *asked) == ["fixing", "it again", "fixing"]
    assert texts(toml, dialect, question(dialect, "other", history=(("ls", "fix"),))) == ["Done."]


def test_turns_count_from_the_prompt_when_a_client_begins_with_words_of_its_own() -> None:
    messages = [
        {"role": "user", "content": "This is the setup."},
        {"role": "assistant", "content": "Got it."},
        {"role": "user", "content": "make a file"},
    ]
    toml = """
    [[tasks]]
    prompt = 'make a file'
    steps = [{ text = "one" }, { text = "two" }]
    """
    asked = post("/v1/chat/completions", {"model": "m", "messages": messages})
    assert texts(toml, "chat", asked) == ["one"]


@every_dialect
def test_a_task_is_a_whole_run(dialect: str) -> None:
    toml = """
    [[tasks]]
    name = "fix"
    prompt = 'fix (?P<file>\\S+)'
    steps = [
      { tool = "bash", input = { command = "sed -i s/a/b/ $file" } },
      { tool = "bash", input = { command = "git diff {file}" }, text = "Looking." },
      { text = "Fixed $file." },
    ]
    """
    upstream = script(toml)
    histories = [(("ls", "x"),) * n for n in range(4)]
    heard = ask(upstream, *(question(dialect, "fix a.py", history=h) for h in histories))
    found = [said(dialect, one.json) for one in heard]
    commands = [next(iter(call[1].values())) for one in found for call in one.calls]
    assert commands == ["sed -i s/a/b/ a.py", "git diff a.py"]
    assert [one.text for one in found] == ["", "Looking.", "Fixed a.py.", "Done."]
    assert upstream.calls == {"fix.1": 1, "fix.2": 1, "fix.3": 1, "default": 1}


def test_rules_come_before_tasks() -> None:
    toml = """
    [[tasks]]
    prompt = 'fix'
    steps = [{ text = "step" }]
    [[rules]]
    prompt = 'fix'
    times = 1
    error = 529
    """
    asked = question("anthropic", "fix")
    first, second = ask(script(toml), asked, asked)
    assert first.status == 529
    assert said("anthropic", second.json).text == "step"


def test_a_rule_answers_so_many_times_and_then_the_next_does() -> None:
    toml = """
    [[rules]]
    name = "twice"
    times = 2
    text = "busy"
    [[rules]]
    text = "fine"
    """
    upstream = script(toml)
    asked = [question("anthropic")] * 4
    found = [said("anthropic", heard.json).text for heard in ask(upstream, *asked)]
    assert found == ["busy", "busy", "fine", "fine"]
    assert upstream.calls == {"twice": 2, "rule 2": 2}


@every_dialect
def test_a_rule_may_be_for_some_models_or_one_dialect(dialect: str) -> None:
    toml = """
    [[rules]]
    model = "big-*"
    text = "big"
    """ + "".join(f'[[rules]]\ndialect = "{one}"\ntext = "{one}"\n' for one in DIALECTS)
    big, small = question(dialect, model="big-1"), question(dialect, model="small")
    assert texts(toml, dialect, big, small) == ["big", dialect]


def test_what_a_group_caught_is_put_in_once_and_never_run() -> None:
    toml = """
    [[rules]]
    when = 'name is (?P<name>.+?) and (?P<name_too>.+)$'
    text = "$name, {name_too}, $name_too, ${HOME} {other} $names {name}s"
    tool = "bash"
    input = { command = "echo {name}", deep = { list = ["$name", 1, true] } }
    """
    heard = ask(script(toml), question("anthropic", "name is $name_too and {name}"))[0]
    found = said("anthropic", heard.json)
    assert found.text == "$name_too, {name}, {name}, ${HOME} {other} $names $name_toos"
    assert found.calls[0][1]["command"] == "echo $name_too"


def test_a_group_that_caught_nothing_is_empty() -> None:
    toml = "[[rules]]\nwhen = 'a(?P<rest>b)?'\ntext = '[{rest}]'"
    asked = [question("chat", prompt) for prompt in ("ab", "ac")]
    assert texts(toml, "chat", *asked) == ["[b]", "[]"]


def test_a_client_without_that_tool_gets_the_text() -> None:
    toml = """
    [[rules]]
    when = 'title'
    tool = "bash"
    input = { command = "ls" }
    text = "A title"
    [[rules]]
    tool = "bash"
    input = { command = "ls" }
    """
    asked = [question("anthropic", prompt, tools=False) for prompt in ("title", "else")]
    heard = ask(script(toml), *asked)
    assert [said("anthropic", one.json).text for one in heard] == ["A title", "Done."]
    assert [one.json["stop_reason"] for one in heard] == ["end_turn", "end_turn"]


def test_a_user_may_say_more_than_a_result_in_a_turn() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "ok"}],
    }
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "going"},
        {"role": "user", "content": [result, {"type": "text", "text": "and hurry"}]},
        {"role": "system", "content": "be quick"},
    ]
    toml = "[[rules]]\nwhen = 'hurry'\nwhen_result = '^ok$'\nturn = 2\ntext = 'yes'"
    assert texts(toml, "anthropic", post("/v1/messages", {"messages": messages})) == ["yes"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": 1, "input": {}, "contents": "x", "tools": "x"},
        {"messages": [1, None, {"role": 5, "content": [None]}], "tools": [None, {"function": 1}]},
        {"input": [1, {"type": 7}], "contents": [{"parts": {}}], "model": ["x"], "stream": "yes"},
        {"contents": [None, {"parts": [None, {"functionResponse": None, "text": 5}]}]},
    ],
)
def test_nonsense_in_a_body_is_no_crash(body: Json) -> None:
    paths = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
    for path in (*paths, "/v1beta/models/m:generateContent", "/v1/embeddings"):
        assert ask(script(""), post(path, body))[0].status == 200
