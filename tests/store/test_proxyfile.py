from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fleet.store import proxyfile
from fleet.store.claims import try_hold
from fleet.store.layout import Layout


def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(common_dir=tmp_path, top=tmp_path, cache=tmp_path / "cache")
    layout.prepare()
    return layout


def test_a_proxy_lives_while_its_lock_is_held_and_it_has_said_where(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    assert proxyfile.live(layout) is None
    lock = try_hold(layout.proxy_lock)
    assert lock is not None
    assert proxyfile.live(layout) is None
    proxyfile.write(layout.proxy_file, 4711, 4712)
    found = proxyfile.live(layout)
    assert found is not None
    assert (found.port, found.metrics_port, found.pid) == (4711, 4712, os.getpid())
    assert found.url == "http://127.0.0.1:4711"
    assert stat.S_IMODE(layout.proxy_file.stat().st_mode) == 0o600
    lock.release()
    assert proxyfile.live(layout) is None
    assert proxyfile.read(layout.proxy_file) == found  # for the port of the next one


def test_what_a_dead_proxy_wrote_does_not_count_for_its_successor(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    proxyfile.write(layout.proxy_file, 1, 2, pid=2**22 + 1)
    with try_hold(layout.proxy_lock) or os._exit(1):
        assert proxyfile.live(layout) is None


def test_a_broken_file_is_no_address(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    for text in ("", "{", "[]", "{}", '{"port": "x"}', '{"port": 1}', "null"):
        path.write_text(text)
        assert proxyfile.read(path) is None
    for port in (0, -1, 65536, 10**30):
        path.write_text(f'{{"port": {port}, "metrics_port": 1, "pid": 1, "started": 1}}')
        assert proxyfile.read(path) is None
    path.write_text("[" * 4000)
    assert proxyfile.read(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 4000,
        '{"port":1e999,"metrics_port":1,"pid":1,"started":1}',
        '{"port":99999999,"metrics_port":1,"pid":1,"started":1}',
        '{"port":1,"metrics_port":1,"pid":-1,"started":1}',
    ],
)
def test_a_damaged_file_is_no_address_and_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "proxy.json"
    path.write_text(text)
    assert proxyfile.read(path) is None


def test_a_proxy_need_not_serve_metrics(tmp_path: Path) -> None:
    proxyfile.write(tmp_path / "proxy.json", 8123, 0)
    found = proxyfile.read(tmp_path / "proxy.json")
    assert found is not None
    assert found.metrics_port == 0
