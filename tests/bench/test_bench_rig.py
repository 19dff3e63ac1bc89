"""The rig of the benchmarks counts and checks what it should. Nothing here looks at a clock."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.bench.rig import load, peers, streaming, wrk
from scripts.bench.rig.bodies import MARK, Api, answer, template
from scripts.bench.rig.install import MADE, python_mark
from scripts.bench.rig.lanes import ENVOY_WHEEL, engine, envoy, fleet, nginx, relay
from scripts.bench.rig.processes import Clock, NotStarted, Processes, cpu, memory, tree
from scripts.bench.rig.report import ratios, spread
from scripts.bench.rig.setting import Rig, a_rig, answers, started
from scripts.bench.rig.target import Load, Target


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("rig")
    with a_rig(folder, folder / "peers") as made:
        yield made


@pytest.fixture
def direct(rig: Rig) -> Target:
    return Target(name="direct", port=rig.upstream.port)


@pytest.mark.parametrize("api", list(Api))
@pytest.mark.parametrize("size", [2_000, 76_000, 800_000])
def test_a_request_is_json_of_the_wanted_size(api: Api, size: int) -> None:
    made = template(api, size, path=api.path, headers={}, stream=True)
    head, _, body = made.fill(42).partition(b"\r\n\r\n")
    assert json.loads(body)["stream"] is True
    assert b"turn #0000000042" in body
    assert f"content-length: {len(body)}".encode() in head
    assert abs(len(body) - size) < 50


@pytest.mark.parametrize("api", list(Api))
def test_an_answer_is_json_of_about_a_kilobyte(api: Api) -> None:
    whole = b"0000000042".join(answer(api))
    assert MARK + b"0000000042" in whole
    assert "usage" in json.loads(whole)
    assert 700 < len(whole) < 1_300


@pytest.mark.parametrize("api", list(Api))
def test_every_answer_is_for_the_request_it_answers(rig: Rig, direct: Target, api: Api) -> None:
    before = rig.upstream.count("calls")
    one = Load(size=2_000, connections=8, seconds=0.3, first=1_000)
    work = load.apart(load.requests, replace(direct, api=api), rig.upstream, one)
    assert work.bad == 0
    assert work.done > 8
    assert work.done <= rig.upstream.count("calls") - before <= work.done + 8
    assert work.upstream > 0
    assert work.gateway == 0


def test_a_gateway_with_somebody_elses_answers_is_found_out(rig: Rig, direct: Target) -> None:
    deaf = replace(direct, prefix="/bench/counts?")  # 200, and no answer to anything
    one = Load(size=2_000, connections=2, seconds=0.1, first=1_000)
    work = load.apart(load.requests, deaf, rig.upstream, one)
    assert work.bad == work.done > 0
    assert not answers(deaf)


def test_large_requests_take_turns_and_are_answered(rig: Rig, direct: Target) -> None:
    found = load.apart(load.latencies, [direct, direct], 800_000, 2, 3, 5_000)
    assert [(len(times), bad) for times, bad in found] == [(6, 0), (6, 0)]


@pytest.mark.parametrize("api", list(Api))
def test_all_events_of_all_streams_are_counted(rig: Rig, direct: Target, api: Api) -> None:
    one = Load(size=2_000, connections=10, seconds=0.2, first=2_000)
    found = load.apart(streaming.streams, replace(direct, api=api), rig.upstream, one, 20.0)
    assert found.work.bad == 0
    assert found.work.done > 0
    assert rig.upstream.count("live") == 0
    assert rig.upstream.count("cut") == 0


def test_who_does_not_share_makes_a_call_for_each_joiner(rig: Rig, direct: Target) -> None:
    found = load.apart(streaming.joiners, direct, rig.upstream, 2_000, 3, 0.1, 3_000)
    assert len(found.first_event) == 3
    assert found.calls == 4


def test_a_burst_of_equal_requests_is_counted(rig: Rig, direct: Target) -> None:
    found = load.apart(streaming.burst, direct, rig.upstream, 2_000, 50, 4_000)
    assert (found.calls, found.right, found.dedup) == (50, 50, {"-": 50})


@pytest.mark.skipif(not wrk.available(), reason="wrk is not on PATH")
def test_wrk_sends_bodies_that_differ(rig: Rig, direct: Target, tmp_path: Path) -> None:
    before = rig.upstream.count("calls")
    one = Load(size=2_000, connections=4, seconds=1, first=6_000)
    work = wrk.requests(direct, rig.upstream, one, tmp_path)
    assert work.bad == 0
    assert work.done <= rig.upstream.count("calls") - before <= work.done + 4


def test_every_lane_passes_both_ways_and_its_cpu_is_seen(rig: Rig) -> None:
    lanes = {"relay": relay, "engine": engine, "nginx": nginx}
    targets, absent = started(lanes, rig)
    assert set(absent) <= ({"nginx"} if shutil.which("nginx") is None else set())
    for target in targets:
        assert answers(target), target.name
        one = Load(size=2_000, connections=8, seconds=0.2, first=7_000)
        work = load.apart(load.requests, target, rig.upstream, one)
        assert (work.bad, work.gateway > 0) == (0, True), target.name
        streamed = load.apart(
            streaming.streams, target, rig.upstream, replace(one, first=8_000), 20.0
        )
        assert streamed.work.bad == 0, target.name
        assert streamed.full.rss > 1


def test_equal_requests_through_fleet_are_one_call(rig: Rig) -> None:
    try:
        (target,) = fleet(rig)
    except NotStarted as why:
        if "No such command" not in str(why):
            raise
        pytest.skip("this fleet has no proxy")
    for api in Api:
        assert answers(replace(target, api=api))
    found = load.apart(streaming.burst, target, rig.upstream, 2_000, 50, 9_000)
    assert (found.calls, found.right) == (1, 50)
    joined = load.apart(streaming.joiners, target, rig.upstream, 2_000, 3, 0.3, 9_500)
    assert (joined.calls, joined.dedup) == (1, {"joined": 3})


def test_a_peer_that_is_not_there_is_named_with_the_reason(rig: Rig) -> None:
    targets, absent = started({"litellm": peers.litellm, "direct": lambda _: []}, rig)
    assert targets == []
    assert "--install" in absent["litellm"]


def test_a_peer_that_does_not_start_is_named_with_what_it_said(rig: Rig) -> None:
    folder = rig.peers / "envoy"
    program = folder / "lib/python3/site-packages/envoy/_bin/envoy"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho no such flag\nexit 2\n")
    program.chmod(0o755)
    (folder / MADE).write_text(python_mark([ENVOY_WHEEL]))
    with pytest.raises(NotStarted, match=r"ended with 2: no such flag"):
        envoy(rig)


def test_a_whole_tree_is_read_and_ended(tmp_path: Path) -> None:
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    script = f"({busy}; touch done; exec sleep 60) & wait"
    with Processes() as processes:
        argv = ["sh", "-c", script]
        child = processes.start(argv, log=tmp_path / "log", env=os.environ, cwd=tmp_path)
        while not (tmp_path / "done").exists() or len(tree(child.pid)) > 2:
            assert child.poll() is None
        _, (grandchild, _) = tree(child.pid)
        assert cpu([child.pid]).since(Clock({}, 0)) > cpu([child.pid]).threads[child.pid] / 1e9
        assert memory([child.pid]).rss > memory([grandchild]).rss > 0
    assert child.returncode is not None
    until = time.monotonic() + 5
    while _alive(grandchild):
        assert time.monotonic() < until


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]
    assert spread([2.0, 3.0, 2.5], 1) == "2.5 (2.0–3.0)"
