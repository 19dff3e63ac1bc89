"""A coding agent in one file: a prompt on stdin, a model, and a shell.

It asks a model behind the Anthropic Messages API, runs the commands the model wants in the current
directory, shows it what they printed, and ends when it wants no more. Output is JSON lines: start,
assistant, tool, tool_result, retry, result. A call that fails for the moment (429, 5xx, a lost
connection, a stream cut short) is sent again, byte for byte. No command outlives its turn, nor us
on SIGTERM or SIGINT, unless it leaves its process group. What this is not: a sandbox.

Environment: ANTHROPIC_BASE_URL, and ANTHROPIC_AUTH_TOKEN or ANTHROPIC_API_KEY. Exit codes: 0 the
model says it is done, 1 it did not get there or the API failed, 2 usage, 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

TRIES = 6
FIRST_WAIT_S = 0.5  # at most, and twice as long each time, unless the API says how long
IDLE_S = 600.0  # of silence within an answer
KEPT_BYTES = 8 * 1024  # of the head of an output, and as many of its tail
LAST_WORDS_S = 0.2  # for the output of what a finished shell has left in the background
GO_ONS = 2  # how often an answer may run into max_tokens
PASSING = ("overloaded_error", "rate_limit_error", "api_error", "timeout_error")
ADDRESS, TOKEN, KEY = "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"
ODD = (AttributeError, LookupError, TypeError, ValueError)  # of an answer
ENDING = (signal.SIGTERM, signal.SIGINT)
CACHED = {"cache_control": {"type": "ephemeral"}}

# No directory and no date: what comes first is the same everywhere, so that its cache is shared.
SYSTEM = """\
You are a careful software engineer. You work alone in a git repository, the current directory; your
only tool is bash. Nobody can answer questions: decide, and do the work. Read before you write, and
change only what the task asks for, in the style of the code around it. Run the tests that cover
your change. When the task is done, say briefly what you did, and call no tool."""
BASH = "Runs a command in a new bash in the repository. No input; what it leaves running is ended."
COMMAND = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
GO_ON = "You reached the length limit. Go on in smaller steps. A command cut off has not been run."


class ApiError(Exception):
    """No answer. A `passing` trouble may be over in a moment, or `after` that many seconds."""

    def __init__(self, why: str, *, passing: bool = True, after: str = "") -> None:
        super().__init__(why)
        self.passing, self.after = passing, after


def say(kind: str, **facts: object) -> None:
    print(json.dumps({"type": kind, **facts}), flush=True)


class Model:
    """One endpoint of the Messages API."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http address: {base_url!r}")
        self._connection = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + "/v1/messages"
        token, key = (os.environ.get(name, "").strip() for name in (TOKEN, KEY))
        self._headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        self._headers |= {"authorization": f"Bearer {token}"} if token else {"x-api-key": key}

    def ask(self, body: bytes) -> Json:
        """The model's message, in as many tries as it takes to get it whole."""
        tries = 0
        while True:
            try:
                return self._try(body)
            except ApiError as error:
                tries += 1
                if tries == TRIES or not error.passing:
                    raise
                wait_s = random.uniform(0, FIRST_WAIT_S * 2 ** (tries - 1))
                if error.after.isdecimal():
                    wait_s = int(error.after) * random.uniform(1.0, 1.1)
                say("retry", reason=str(error), wait_s=round(wait_s, 3))
                time.sleep(wait_s)

    def _try(self, body: bytes) -> Json:
        connection = self._connection(self._host, self._port, timeout=IDLE_S)
        try:
            connection.request("POST", self._path, body, self._headers)
            with connection.getresponse() as response:
                if response.status != 200:
                    raise refusal(response)
                streamed = "event-stream" in response.headers.get("content-type", "")
                message = fold(response) if streamed else json.loads(response.read())
            return {key: message[key] for key in ("content", "stop_reason", "usage")}
        except (OSError, HTTPException, *ODD) as error:
            raise ApiError(f"no whole answer: {error!r}") from error
        finally:
            connection.close()


def refusal(response: HTTPResponse) -> ApiError:
    said = response.read()[:500].decode("utf-8", "replace")
    passing = response.status in (408, 429) or response.status >= 500
    passing = passing and response.headers.get("x-should-retry") != "false"
    after = response.headers.get("retry-after", "")
    return ApiError(f"HTTP {response.status}: {said}", passing=passing, after=after)


def fold(lines: Iterable[bytes]) -> Json:
    """The message an event stream adds up to, as if it had come in one piece."""
    message: Json = {}
    for event in (json.loads(line[5:]) for line in lines if line.startswith(b"data:")):
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block = message["content"][event["index"]]
                for key, value in event["delta"].items():  # text, thinking, signature, partial_json
                    if key != "type" and isinstance(value, str):
                        block[key] = block.get(key, "") + value
            case "content_block_stop" if text := message["content"][-1].pop("partial_json", ""):
                with suppress(ValueError):  # cut off by max_tokens: then the call is not made
                    message["content"][-1]["input"] = json.loads(text)
            case "message_delta":
                message["usage"] |= event.get("usage", {})
                message |= event["delta"]
            case "message_stop":
                with suppress(OSError, HTTPException):
                    for _ in lines:  # to its end: who leaves before has not had the answer
                        pass
                return message
            case "error":
                kind, why = event["error"]["type"], event["error"].get("message", "")
                raise ApiError(f"{kind}: {why}", passing=kind in PASSING)
    raise ApiError("the stream was cut short")


class Shell:
    """Runs one command at a time. A signal may call `stop` at any instant."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        secrets = (ADDRESS, TOKEN, KEY)  # an address may hold a token too
        self._env = {name: value for name, value in os.environ.items() if name not in secrets}
        self._child: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> tuple[int, int, str]:
        """The exit code, how many bytes were printed, and what to tell the model."""
        # Before Popen has returned, a signal would not know whom to kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            child = self._child = subprocess.Popen(
                ["bash", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
                preexec_fn=unblock,  # noqa: PLW1509 - we have no threads
            )
        except (OSError, ValueError) as error:
            return 126, 0, f"[cannot be run: {error}]"
        finally:
            unblock()
        total, shown = self._read(child)
        late = child.poll() is None
        self._kill()
        code = child.wait()
        self._child = None
        note = f"[timed out after {self._timeout_s:g} s: killed]" if late else f"[exit {code}]"
        return code, total, f"{shown}\n{note}" if code else shown or "[no output]"

    def stop(self, number: int, frame: object) -> None:
        self._kill()
        os._exit(128 + number)

    def _read(self, child: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Read until the command has ended or its time is up: how much, its head and its tail."""
        assert child.stdout is not None
        total, head, tail = 0, b"", b""
        until = time.monotonic() + self._timeout_s
        with child.stdout as pipe:
            while (left_s := until - time.monotonic()) > 0:
                if select.select([pipe], [], [], min(left_s, LAST_WORDS_S))[0]:
                    data = os.read(pipe.fileno(), 1 << 16)
                    if not data:
                        break
                    total, room = total + len(data), KEPT_BYTES - len(head)
                    head, tail = head + data[:room], (tail + data[room:])[-KEPT_BYTES:]
                if child.returncode is None and child.poll() is not None:
                    until = min(until, time.monotonic() + LAST_WORDS_S)
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, until - time.monotonic()))
        gap = total - len(head) - len(tail)
        note = f"\n[{gap} bytes left out]\n".encode() if gap else b""
        return total, (head + note + tail).decode("utf-8", "replace")

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if self._child is not None:
                os.killpg(self._child.pid, signal.SIGKILL)


def unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def user(*content: Json) -> Json:
    return {"role": "user", "content": list(content)}


def request(options: argparse.Namespace, messages: list[Json]) -> bytes:
    *before, last = messages
    *blocks, newest = last["content"]
    body = {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "system": [{"type": "text", "text": SYSTEM} | CACHED],
        "tools": [{"name": "bash", "description": BASH, "input_schema": COMMAND}],
        "messages": [*before, user(*blocks, newest | CACHED)],
        "stream": options.stream,
    }
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def work(options: argparse.Namespace, prompt: str, shell: Shell) -> int:
    """Ask, run what is asked for, tell, until the model is done. The exit code."""
    messages = [user({"type": "text", "text": prompt})]
    usage: Counter[str] = Counter()
    turns, go_ons, stop, error = 0, 0, "", ""
    while not stop and turns < options.max_turns:
        try:
            answer = options.api.ask(request(options, messages))
        except ApiError as problem:
            stop, error = "error", str(problem)
            break
        turns, reason = turns + 1, answer["stop_reason"]
        usage.update({key: n for key, n in answer["usage"].items() if isinstance(n, int)})
        cut_off = "tool_use" if reason == "max_tokens" else ""
        content = [b for b in answer["content"] if b["type"] != cut_off and b.get("text") != ""]
        messages += [{"role": "assistant", "content": content}] if content else []
        for block in content:
            if block["type"] == "text":
                say("assistant", text=block["text"])
        calls = [block for block in content if block["type"] == "tool_use"]
        if reason == "tool_use" and calls:
            messages.append(user(*(tool_result(call, shell) for call in calls)))
        elif reason == "max_tokens" and go_ons < GO_ONS:
            go_ons += 1
            messages.append(user({"type": "text", "text": GO_ON}))
        else:
            stop = reason or "unknown"
    say("result", turns=turns, usage=usage, stop=stop or "max_turns", error=error)
    return 0 if stop in ("end_turn", "stop_sequence") else 1


def tool_result(call: Json, shell: Shell) -> Json:
    command = call["input"].get("command")
    say("tool", command=command)
    told = isinstance(command, str)
    code, total, text = shell.run(command) if told else (2, 0, "[there is no command in this call]")
    say("tool_result", exit=code, bytes=total)
    outcome = {"content": text, "is_error": code != 0}
    return {"type": "tool_result", "tool_use_id": call["id"]} | outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="mini", description="A coding agent: prompt on stdin.")
    parser.add_argument("--model", required=True)
    usual = os.environ.get(ADDRESS) or "https://api.anthropic.com"
    parser.add_argument("--base-url", type=Model, dest="api", default=usual)
    parser.add_argument("--max-turns", type=int, default=50)
    parser.add_argument("--max-tokens", type=int, default=16_000, help="of one answer")
    parser.add_argument("--tool-timeout", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--stream", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    shell = Shell(options.tool_timeout)
    for number in ENDING:
        signal.signal(number, shell.stop)
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not prompt:
        parser.error("there is no prompt on stdin")
    say("start", model=options.model)
    return work(options, prompt, shell)


if __name__ == "__main__":
    sys.exit(main())
