"""Who may speak to the proxy, about what, and where it goes from there."""

from __future__ import annotations

import random
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.proxy.dialects import table
from fleet.proxy.http.heads import LOOPBACK, Head, Names, Refusal, read
from fleet.proxy.http.limits import Limits
from tests.proxy.byte_provider import Passage, on_the_wire

PORT = 8123
NAMES = Names.of(LOOPBACK, PORT)
BODY = (
    b'{"model":"demo","max_tokens":5,"messages":[{"role":"user","content":"canary-of-a-prompt"}]}'
)

ANSWER = (
    b'{"id":"m","type":"message","role":"assistant","model":"demo","stop_reason":"end_turn",'
    b'"content":[{"type":"text","text":"canary-of-an-answer"}],'
    b'"usage":{"input_tokens":3,"output_tokens":4}}'
)


def head(*lines: str, line: str = "POST /v1/messages HTTP/1.1") -> Head:
    return read("\r\n".join((line, *lines)).encode("latin-1"), Limits(), NAMES)


# -- DNS rebinding, and other pages in a browser (X4) ----------------------------------------------

OURS = [
    f"{name}{port}"
    for name in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST")
    for port in ("", f":{PORT}")
]
FOREIGN = [
    "attacker.example", f"attacker.example:{PORT}", "127.0.0.1.attacker.example", "localhost.",
    f"localhost.:{PORT}", "localhost:1", "127.0.0.1:80", "127.1", "2130706433", "0x7f000001",
    "0177.0.0.1", "127.0.0.2", "0.0.0.0", "[::]", f"[::]:{PORT}", "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
    "127.0.0.1, localhost", "127.0.0.1 attacker", "127.0.0.1@attacker.example", "127.0.0.1/..",
    "127.0.0.1#", "127.0.0.1?", "127.0.0.1:8123:1", "127.0.0.1:", "localhost%00", "\x7f", "",
    "xn--localhost-abc", "localtest.me", "127.0.0.1.nip.io", "rebind.example:08123", ":8123",
]  # fmt: skip
ORIGINS = [
    "http://attacker.example", f"http://attacker.example:{PORT}", "null", "", "file://",
    "http://localhost", f"http://localhost:{PORT + 1}", f"https://localhost:{PORT}",
    f"http://localhost:{PORT}.attacker.example", f"http://localhost:{PORT}/", "http://127.0.0.1",
    f"http://attacker.example http://localhost:{PORT}", "chrome-extension://abc",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_we_are_spoken_to_by_our_names(host: str) -> None:
    assert head(f"Host: {host}").target == "/v1/messages"
    assert head(f"Host: {host}", f"Origin: http://localhost:{PORT}").length == 0


@pytest.mark.parametrize("host", FOREIGN)
def test_and_by_no_other_name(host: str) -> None:
    for more in ((), (f"Origin: http://{host}",), (f"Origin: http://localhost:{PORT}",)):
        with pytest.raises(Refusal) as found:
            head(f"Host: {host}", *more)
        assert found.value.status in (400, 403)


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_page_of_another_origin_is_served(origin: str) -> None:
    with pytest.raises(Refusal) as found:
        head(f"Host: localhost:{PORT}", f"Origin: {origin}")
    assert found.value.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "what", ""])
def test_no_page_of_another_site_is_served_though_it_hides_its_origin(site: str) -> None:
    with pytest.raises(Refusal) as found:
        head("Host: localhost", f"Sec-Fetch-Site: {site}", line="GET /v1/models HTTP/1.1")
    assert found.value.status == 403


def test_clients_that_are_no_browsers_are_served() -> None:
    assert head("Host: localhost", "Sec-Fetch-Mode: cors").target == "/v1/messages"
    assert head("Host: localhost", "Sec-Fetch-Site: none").target == "/v1/messages"


# -- paths (X2, X3, X10) ---------------------------------------------------------------------------

PIECES = (
    "/", "//", "/.", "/..", "/../", "%2f", "%2F", "%2e%2e", "%00", "\\", ";", "v1",
    "v1beta", "messages",
    "models", "chat/completions", "responses", "embeddings", "a", ":generateContent",
    ":", "@", "admin",
    "metrics", "config", "update", "key", "info", "debug", "keys", "http://x", "..;/",
    "%252f", "~", "*",
)  # fmt: skip
KNOWN = (
    "/v1/messages",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/models",
    "/v1beta/models/g:generateContent",
)


def odd_paths(count: int) -> set[str]:
    rng = random.Random(11)
    found: set[str] = set()
    while len(found) < count:
        path = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 7)))
        if rng.random() < 0.5:
            known = rng.choice(KNOWN)
            at = rng.randrange(1, len(known) + 1)
            path = known[:at] + rng.choice(PIECES) + known[at:]
        if any(odd in path for odd in ("//", "/.", "%", "\\", ";", "..", "~", "*")):
            found.add(path)
    return found


def test_ten_thousand_odd_paths_name_nothing() -> None:
    for path in odd_paths(10_000):
        for method in ("GET", "POST"):
            assert table.find(method, path).endpoint is None, path


@pytest.mark.parametrize(
    "path",
    [
        "/admin", "/config/update", "/key/info", "/key/generate", "/metrics", "/health", "/debug",
        "/shutdown", "/v1/admin", "/cache/flush", "/status", "/api/config", "/.env", "/docs",
        "/v1/files", "/v1/models/../admin", "/v1/organizations",
    ],
)  # fmt: skip
def test_there_is_no_door_for_administrators(path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        place = table.find(method, path)
        assert (place.endpoint, place.probe, place.allowed) == (None, False, "")


def test_nothing_an_agent_says_chooses_who_is_asked(tmp_path: Path) -> None:
    """Fields and headers by which other gateways were sent elsewhere, with the real key."""

    async def scenario(passage: Passage) -> None:
        url = "http://127.0.0.1:9"  # nobody is there
        fields = ("api_base", "base_url", "api_key", "custom_llm_provider", "endpoint", "proxy")
        told = b",".join(b'"%b":"%b"' % (name.encode(), url.encode()) for name in fields)
        nested = (
            b'"user_config":{"model_list":[{"litellm_params":{"api_base":"%b"}}]}' % url.encode()
        )
        body = b'{"model":"demo","messages":[],' + told + b"," + nested + b"}"
        answer = await passage.ask(
            "/v1/messages",
            body,
            "x-forwarded-host: 127.0.0.1:9",
            f"x-api-base: {url}",
            "forwarded: host=127.0.0.1:9",
            "x-original-url: /admin",
        )
        assert answer.status == 200
        (came,) = passage.provider.came
        assert came.line == "POST /v1/messages HTTP/1.1"
        assert came.all("host") == [passage.provider.url.removeprefix("http://").encode()]
        assert came.body == body

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_provider_cannot_send_us_elsewhere(tmp_path: Path, status: str) -> None:
    async def scenario(passage: Passage) -> None:
        elsewhere = f"{passage.provider.url}/elsewhere".encode()
        more = b"location: " + elsewhere + b"\r\n"
        passage.provider.answers("text/plain", b"over there", status=status, more=more)
        answer = await passage.ask("/v1/messages", BODY)
        assert answer.status == int(status.split(maxsplit=1)[0])
        assert len(passage.provider.came) == 1

    on_the_wire(tmp_path, scenario)


def test_a_proxy_that_the_environment_names_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def scenario(passage: Passage) -> None:
        assert (await passage.ask("/v1/messages", BODY)).status == 200
        assert len(passage.provider.came) == 1

    on_the_wire(tmp_path, scenario)


# -- what stays on the disk (X8, X9, 5.5) ----------------------------------------------------------


def test_neither_questions_nor_answers_reach_the_disk(tmp_path: Path) -> None:
    """The answer is kept to be shared, in memory."""

    async def scenario(passage: Passage) -> None:
        passage.provider.answers("application/json", ANSWER)
        for token in (passage.proxy.token, passage.proxy.new_token()):
            answer = await passage.asker.ask(f"/a/{token}/v1/messages", BODY)
            assert answer.status == 200
        assert len(passage.provider.came) == 1  # the second had the first one's answer
        passage.proxy.calls_db().close()

    on_the_wire(tmp_path, scenario)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "calls.db" for path in files)
    for path in files:
        assert b"canary-of" not in path.read_bytes(), path
        if path.name.startswith(("calls.db", "state.db")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_process_that_has_hidden_leaves_no_core_and_shows_no_memory() -> None:
    probe = (
        "import ctypes, resource; from fleet.process.kernel import hide; hide(); "
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import resource; {probe}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096)),
    )
    assert done.stdout.split() == ["0", "0"]
