"""The script behind real HTTP: `python -m fleet.proxy.script`."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.proxy.script.asking import events_of, question

TOML = """
[[rules]]
when = 'cut (?P<where>before|after|midway)'
text = "never whole"
cut = "midway"
[[rules]]
when = 'nothing'
cut = "before"
[[rules]]
when = 'long'
text = "LONG"
pieces = 1
[[rules]]
when = 'busy'
error = 503
retry_after = 1
"""


@contextmanager
def served(folder: Path, toml: str) -> Iterator[str]:
    file = folder / "model.toml"
    file.write_text(toml.replace("LONG", "x" * 200_000))
    words = [sys.executable, "-m", "fleet.proxy.script", str(file), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.stdout.readline().strip()
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0


def test_a_script_is_served_over_http(tmp_path: Path) -> None:
    with served(tmp_path, TOML) as url, httpx.Client(base_url=url) as client:
        for dialect in ("anthropic", "chat", "responses", "gemini"):
            asked = question(dialect)
            answer = client.post(asked.target, content=asked.body)
            assert answer.status_code == 200 and "Done." in answer.text
            asked = question(dialect, stream=True)
            with client.stream("POST", asked.target, content=asked.body) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert list(events_of(stream.read()))
        busy = client.post("/v1/chat/completions", content=question("chat", "busy").body)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert client.head("/").status_code == 200
        long = client.post("/v1/messages", content=question("anthropic", "long").body)
        assert len(long.json()["content"][0]["text"]) == 200_000


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_is_a_cut_on_the_wire(tmp_path: Path, stream: bool) -> None:
    with served(tmp_path, TOML) as url, httpx.Client(base_url=url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(
                "/v1/messages", content=question("anthropic", "cut midway", stream=stream).body
            )
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            client.post(
                "/v1/messages", content=question("anthropic", "nothing", stream=stream).body
            )
        assert client.post("/v1/messages", content=question("anthropic").body).status_code == 200


def test_a_slow_reader_gets_everything(tmp_path: Path) -> None:
    toml = '[[rules]]\ntext = "LONG"\nchars_per_piece = 20'
    with served(tmp_path, toml) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        asked = question("anthropic", stream=True)
        connection.request("POST", asked.target, asked.body)
        with connection.getresponse() as answer:
            body = answer.read(100)
            while part := answer.read(20_000):
                body += part
        connection.close()
    texts = [
        event["delta"]["text"] for event in events_of(body) if "text" in event.get("delta", "")
    ]
    assert "".join(texts) == "x" * 200_000


def test_what_is_wrong_with_a_script_is_said(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text("[[rules]]\ntxt = 'a'\n")
    words = [sys.executable, "-m", "fleet.proxy.script", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert f"{file}:2: unknown key 'txt'" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with served(tmp_path, "") as url:
        file = tmp_path / "other.toml"
        file.write_text("")
        words = [
            sys.executable,
            "-m",
            "fleet.proxy.script",
            str(file),
            "--port",
            url.rpartition(":")[2],
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and "cannot be had" in done.stderr
    assert json.dumps(done.stdout) == '""'
