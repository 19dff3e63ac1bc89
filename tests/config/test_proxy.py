from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import (
    Auth,
    Config,
    Dedup,
    LimitConfig,
    PriceConfig,
    ProxyConfig,
    UpstreamConfig,
    UpstreamKind,
    load,
)
from fleet.core.errors import ConfigError
from fleet.core.profile import Api

EVERYTHING = """\
[proxy]
port = 4000
metrics_port = 4001
dedup = "session"
cache_ttl = "10m"
cache_mb = 0
grace = 1.5
hold_back = "5s"
connect_timeout = "2s"
first_byte_timeout = "1m"
idle_timeout = "2m"
total_timeout = "20m"
body_mb = 8
bodies_mb = 64
hold_max = "2m"
tries = 2
breaker_open = "30s"

[[proxy.limits]]
upstream = "work"
model = "claude-*"
requests_per_minute = 50
concurrency = 8

[[proxy.limits]]
input_tokens_per_minute = 1e6
output_tokens_per_minute = 8000.5

[proxy.prices."house/model"]
input = 0.5
output = 2
cache_read = 0

[proxy.upstreams.work]
kind = "anthropic"
url = ["https://a.example/v1/", "https://b.example/base"]
keys = ["WORK_KEY", "WORK_KEY_2"]
models = ["claude-*"]
auth = "bearer"

[proxy.upstreams.local]
kind = "llama-cpp"
url = "http://192.168.1.7:8080"

[proxy.upstreams.fake]
kind = "script"
script = "tests/model.toml"
"""
KEY = "sk-ant-NEVER-SHOW-THIS"


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    (tmp_path / "fleet.toml").write_text(text)
    return load(tmp_path, {"HOME": "/home/me", **environ})


def problems(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environ)
    assert all(problem.fix for problem in caught.value.problems)
    return {p.where: f"{p.what} | {p.fix}" for p in caught.value.problems}


def upstreams(tmp_path: Path, **environ: str) -> dict[str, UpstreamConfig]:
    found = read(tmp_path, "", **environ).proxy.upstreams
    return {upstream.name: upstream for upstream in found}


def test_without_a_section_there_are_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "").proxy
    assert (found.port, found.metrics_port, found.dedup) == (0, 0, Dedup.FLEET)
    assert (found.cache_ttl_s, found.cache_bytes) == (3600, 64 << 20)
    assert (found.grace_s, found.hold_back_s, found.connect_timeout_s) == (3, 15, 10)
    assert (found.first_byte_timeout_s, found.idle_timeout_s) == (600, 300)
    assert (found.total_timeout_s, found.body_bytes, found.bodies_bytes) == (
        3600,
        32 << 20,
        256 << 20,
    )


def test_everything_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    script = tmp_path / "tests" / "model.toml"
    script.touch()
    found = read(tmp_path, EVERYTHING).proxy
    work, local, fake = found.upstreams
    assert found == ProxyConfig(
        port=4000,
        metrics_port=4001,
        dedup=Dedup.SESSION,
        cache_ttl_s=600,
        cache_bytes=0,
        grace_s=1.5,
        hold_back_s=5,
        connect_timeout_s=2,
        first_byte_timeout_s=60,
        idle_timeout_s=120,
        total_timeout_s=1200,
        body_bytes=8 << 20,
        bodies_bytes=64 << 20,
        hold_max_s=120,
        tries=2,
        breaker_open_s=30,
        limits=(
            LimitConfig(upstream="work", model="claude-*", requests_per_minute=50, concurrency=8),
            LimitConfig(input_tokens_per_minute=1e6, output_tokens_per_minute=8000.5),
        ),
        prices={
            "house/model": PriceConfig(input=0.5, output=2, cache_read=0, cache_write=0.5),
        },
        upstreams=(work, local, fake),
    )
    assert work == UpstreamConfig(
        name="work",
        kind=UpstreamKind.ANTHROPIC,
        urls=("https://a.example", "https://b.example/base"),
        keys=("WORK_KEY", "WORK_KEY_2"),
        models=("claude-*",),
        auth=Auth.BEARER,
    )
    assert (local.urls, local.keys, local.kind) == (
        ("http://192.168.1.7:8080",),
        (),
        UpstreamKind.LLAMA_CPP,
    )
    assert (fake.script, fake.urls) == (str(script), ())
    assert {"WORK_KEY", "WORK_KEY_2", "OPENAI_API_KEY"} <= found.secret_names()


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, "[proxy]\nport = 1\n", FLEET_PROXY_PORT="2", FLEET_PROXY_GRACE="1m")
    assert (found.proxy.port, found.proxy.grace_s) == (2, 60)
    where = problems(tmp_path, "", FLEET_PROXY_UPSTREAMS='{a = {kind = "openai"}}')
    assert "cannot be set by a variable" in where["FLEET_PROXY_UPSTREAMS"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("port = 65536", "0 to 65,535"),
        ("port = -1", "0 to 65,535"),
        ('dedup = "none"', "known: fleet, off, session"),
        ("cache_ttl = 0", "above 0"),
        ('grace = "2h"', "3600 seconds"),
        ("body_mb = 0", "1 to 1,024"),
        ("bodies_mb = 31", "no room for one body_mb"),
        ("prot = 1", "did you mean 'port'?"),
        ("upstreams = 1", "must be a table"),
        ("upstreams = { a = 1 }", "a must be a table"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, line: str, words: str) -> None:
    assert words in problems(tmp_path, f"[proxy]\n{line}\n")["fleet.toml:2"]


def test_two_ports_cannot_be_one(tmp_path: Path) -> None:
    found = problems(tmp_path, "[proxy]\nport = 4000\nmetrics_port = 4000\n")
    assert list(found) == ["fleet.toml:3"]


@pytest.mark.parametrize(
    ("lines", "at", "words"),
    [
        ("", 1, "kind is missing"),
        ('kind = "antropic"', 2, "did you mean 'anthropic'?"),
        ('kind = "openai"\nurls = "https://x.example"', 3, "did you mean 'url'?"),
        ('kind = "llama-cpp"', 1, "url is missing"),
        ('kind = "openai"\nurl = []', 3, "url is empty"),
        ('kind = "openai"\nurl = 5', 3, "is no text"),
        ('kind = "openai"\nurl = "api.example.com"', 3, "does not begin with https://"),
        ('kind = "openai"\nurl = "https://"', 3, "does not begin with https://"),
        ('kind = "openai"\nurl = "https://[::1"', 3, "is no URL"),
        ('kind = "openai"\nurl = "https://x.example:99999"', 3, "is no URL"),
        ('kind = "openai"\nurl = "https://x.example/a b"', 3, "characters that no URL has"),
        ('kind = "openai"\nurl = "ftp://x.example"', 3, "does not begin with https://"),
        ('kind = "openai"\nurl = "http://x.example"', 3, "insecure = true"),
        ('kind = "openai"\nurl = "http://8.8.8.8"', 3, "insecure = true"),
        ('kind = "openai"\nurl = ["https://x.example", "http://y.example"]', 3, "url 2 is http"),
        (f'kind = "openai"\nurl = "https://me:{KEY}@x.example"', 3, "a user or a password"),
        (f'kind = "openai"\nurl = "https://x.example?key={KEY}"', 3, "has a query"),
        ('kind = "openai"\nauth = "basic"', 3, "known: bearer"),
        ('kind = "openai"\nmodels = "gpt-*"', 3, "list of texts"),
        ('kind = "openai"\nscript = "x.toml"', 3, 'script needs kind = "script"'),
        (f'kind = "openai"\nkeys = ["OK_KEY", "{KEY}"]', 3, "item 2 is no name of a variable"),
        (f'kind = "openai"\nkeys = "{KEY}"', 3, "have a new one made"),
        ('kind = "openai"\nkeys = ["AIzaSyNEVER-SHOW-THIS"]', 3, "no name of a variable"),
        ('kind = "openai"\nkeys = ["0a1b2cNEVER"]', 3, "no name of a variable"),
        ('kind = "openai"\nkeys = [1, ""]', 3, "is no text, or empty"),
        ('kind = "script"', 1, "script is missing"),
        ('kind = "script"\nscript = "gone.toml"', 3, "no plain file"),
        ('kind = "script"\nscript = "folder"', 3, "no plain file"),
        ('kind = "script"\nscript = "link.toml"', 3, "leads out of the repository"),
        ('kind = "script"\nscript = "inner.toml"', 3, "no plain file"),
        ('kind = "script"\nscript = "../x.toml"', 3, "leaves the repository"),
        ('kind = "script"\nscript = "/etc/passwd"', 3, "not relative"),
        ('kind = "script"\nscript = "ok.toml"\nurl = "https://x.example"', 4, "take url out"),
        ('kind = "script"\nscript = "ok.toml"\nkeys = ["K"]', 4, "take keys out"),
    ],
)
def test_wrong_upstreams_are_refused_and_no_secret_is_repeated(
    tmp_path: Path, lines: str, at: int, words: str
) -> None:
    (tmp_path / "ok.toml").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.toml").symlink_to("/etc/passwd")
    (tmp_path / "inner.toml").symlink_to("ok.toml")
    found = problems(tmp_path, f"[proxy.upstreams.x]\n{lines}\n")
    assert list(found) == [f"fleet.toml:{at}"]
    assert words in found[f"fleet.toml:{at}"]
    assert "NEVER" not in str(found)


def test_all_problems_of_all_upstreams_come_at_once(tmp_path: Path) -> None:
    text = (
        '[proxy.upstreams."Big One"]\nkind = "openai"\n\n'
        '[proxy.upstreams.b]\nkind = "gemini"\nkeys = ["x-y"]\nurl = "http://b.example"\n'
    )
    assert list(problems(tmp_path, text)) == ["fleet.toml:1", "fleet.toml:6", "fleet.toml:7"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://[::1]:80",
        "http://10.1.2.3",
        "https://x.example/deep/base",
        "http://me.localhost",
    ],
)
def test_keys_may_go_to_near_addresses_in_the_clear(tmp_path: Path, url: str) -> None:
    text = f'[proxy.upstreams.x]\nkind = "openai"\nurl = "{url}/v1"\n'
    (found,) = read(tmp_path, text).proxy.upstreams
    assert found.urls == (url,)
    assert found.keys == ()  # the usual key is for the usual address only
    far = '[proxy.upstreams.x]\nkind = "openai"\nurl = "http://far.example"\ninsecure = true\n'
    assert read(tmp_path, far).proxy.upstreams[0].urls == ("http://far.example",)


def test_the_environment_offers_providers_when_the_file_names_none(tmp_path: Path) -> None:
    found = upstreams(tmp_path)
    assert list(found) == ["anthropic", "openai", "gemini"]
    assert found["anthropic"].urls == ("https://api.anthropic.com",)
    assert found["openai"].urls == ("https://api.openai.com",)
    assert found["gemini"].urls == ("https://generativelanguage.googleapis.com",)
    assert (found["anthropic"].keys, found["anthropic"].auth) == (
        ("ANTHROPIC_API_KEY",),
        Auth.X_API_KEY,
    )
    assert found["openai"].keys == ("OPENAI_API_KEY",)
    assert found["gemini"].keys == ("GEMINI_API_KEY",)


def test_base_urls_and_tokens_of_the_environment_are_used(tmp_path: Path) -> None:
    found = upstreams(
        tmp_path,
        ANTHROPIC_BASE_URL="http://127.0.0.1:9/a/x/",
        OPENAI_BASE_URL="https://x.example/v1/",
        ANTHROPIC_AUTH_TOKEN="t",
        GOOGLE_API_KEY="k",
    )
    assert found["anthropic"].urls == ("http://127.0.0.1:9/a/x",)
    assert (found["anthropic"].keys, found["anthropic"].auth) == (
        ("ANTHROPIC_AUTH_TOKEN",),
        Auth.BEARER,
    )
    assert found["openai"].urls == ("https://x.example",)
    assert found["gemini"].keys == ("GOOGLE_API_KEY",)
    wrong = problems(tmp_path, "", OPENAI_BASE_URL=f"http://me:{KEY}@x.example")
    assert "password" in wrong["OPENAI_BASE_URL"]
    assert KEY not in str(wrong)


def test_a_local_model_takes_what_no_provider_is_asked_for(tmp_path: Path) -> None:
    local = {"LLAMA_CPP_URL": "http://127.0.0.1:8080/v1"}
    alone = upstreams(tmp_path, **local)
    assert list(alone) == ["llama-cpp"]
    assert alone["llama-cpp"].urls == ("http://127.0.0.1:8080",)
    proxy = read(tmp_path, "", **local, OPENAI_API_KEY="k").proxy
    chosen = {
        (api, model): getattr(proxy.upstream_for(api, model), "name", "")
        for api in Api
        for model in ("gpt-5", "o3", "qwen", "claude-x")
    }
    assert chosen[Api.OPENAI, "gpt-5"] == chosen[Api.OPENAI, "o3"] == "openai"
    assert chosen[Api.OPENAI, "qwen"] == "llama-cpp"
    assert chosen[Api.ANTHROPIC, "claude-x"] == "llama-cpp"
    assert chosen[Api.GEMINI, "qwen"] == ""


def test_the_first_that_speaks_and_takes_the_model_wins(tmp_path: Path) -> None:
    text = """\
[proxy.upstreams.z]
kind = "openai"
models = ["gpt-*"]
[proxy.upstreams.a]
kind = "anthropic"
[proxy.upstreams.b]
kind = "openai"
"""
    proxy = read(tmp_path, text).proxy
    assert [found.name for found in proxy.upstreams] == ["z", "a", "b"]
    assert getattr(proxy.upstream_for(Api.OPENAI, "gpt-5"), "name", "") == "z"
    assert getattr(proxy.upstream_for(Api.OPENAI, "qwen"), "name", "") == "b"
    assert getattr(proxy.upstream_for(Api.OPENAI, ""), "name", "") == "z"
    assert getattr(proxy.upstream_for(Api.ANTHROPIC, "gpt-5"), "name", "") == "a"
    assert proxy.upstream_for(Api.GEMINI, "x") is None


def test_keys_can_be_left_to_an_agents_own_login(tmp_path: Path) -> None:
    text = '[proxy.upstreams.x]\nkind = "anthropic"\nkeys = []\n'
    (found,) = read(tmp_path, text).proxy.upstreams
    assert found.keys == ()
    assert not found.lacks_key({})
    (usual,) = read(tmp_path, text.replace("keys = []\n", "")).proxy.upstreams
    assert usual.lacks_key({"ANTHROPIC_API_KEY": ""})
    assert not usual.lacks_key({"ANTHROPIC_API_KEY": "k"})


def test_no_key_is_in_the_configuration(tmp_path: Path) -> None:
    config = read(tmp_path, "", ANTHROPIC_API_KEY=KEY)
    assert KEY not in repr(config)
    assert "ANTHROPIC_API_KEY" not in config.env.without(config.proxy.secret_names())
    assert config.env.without(()) == config.env.variables
