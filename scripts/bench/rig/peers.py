"""Other model gateways: started offline, one worker each, the mock as their only provider."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from scripts.bench.rig.bodies import Api
from scripts.bench.rig.install import node_package, python_package
from scripts.bench.rig.processes import NotStarted
from scripts.bench.rig.setting import Lane, Rig, free_port, ready
from scripts.bench.rig.target import Target

LITELLM = f"""\
model_list:
- model_name: {Api.CHAT.model}
  litellm_params: {{model: openai/{Api.CHAT.model}, api_base: "URL/v1", api_key: sk-mock}}
- model_name: {Api.MESSAGES.model}
  litellm_params: {{model: anthropic/{Api.MESSAGES.model}, api_base: "URL", api_key: sk-mock}}
general_settings: {{master_key: sk-bench-0123456789abcdef0123456789abcdef}}
"""

MLFLOW = f"""\
endpoints:
- name: {Api.CHAT.model}
  endpoint_type: llm/v1/chat
  model:
    provider: openai
    name: {Api.CHAT.model}
    config: {{openai_api_key: sk-mock, openai_api_base: "URL/v1"}}
"""


def litellm(rig: Rig) -> list[Target]:
    packages = ["litellm[proxy]==1.106.2"]
    site = python_package("litellm", packages, rig.peers, install=rig.install)
    port, log, config = free_port(), rig.folder / "litellm.log", rig.folder / "litellm.yaml"
    config.write_text(LITELLM.replace("URL", _url(rig)))
    env = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the network at its start
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    argv = [str(site / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--num_workers", "1"]
    process = rig.processes.start(argv, log=log, env=env, cwd=rig.folder)
    key = ("authorization", "Bearer sk-bench-0123456789abcdef0123456789abcdef")
    target = Target(name="litellm", port=port, pids=(process.pid,), headers=(key,))
    return [ready(one, process, log, seconds=90) for one in _each_api(target)]


def portkey(rig: Rig) -> list[Target]:
    site = node_package("portkey", "@portkey-ai/gateway@1.15.2", rig.peers, install=rig.install)
    node = shutil.which("node")
    if node is None:
        raise NotStarted("it needs node, and it is not on PATH")
    port, log = free_port(), rig.folder / "portkey.log"
    main = site / "node_modules/@portkey-ai/gateway/build/start-server.js"
    argv = [node, str(main), f"--port={port}", "--headless"]
    env = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    process = rig.processes.start(argv, log=log, env=env, cwd=rig.folder)
    found = []
    for target in _each_api(Target(name="portkey", port=port, pids=(process.pid,))):
        provider = "anthropic" if target.api is Api.MESSAGES else "openai"
        headers = (
            ("x-portkey-provider", provider),
            ("x-portkey-custom-host", f"{_url(rig)}/v1"),
        )
        found.append(ready(replace(target, headers=headers), process, log, seconds=30))
    return found


def mlflow(rig: Rig) -> list[Target]:
    """Chat Completions only."""
    packages = ["mlflow[gateway]==3.17.2"]
    site = python_package("mlflow", packages, rig.peers, install=rig.install)
    port, log, config = free_port(), rig.folder / "mlflow.log", rig.folder / "mlflow.yaml"
    config.write_text(MLFLOW.replace("URL", _url(rig)))
    env = {
        **os.environ,
        "PATH": f"{site / 'bin'}:{os.environ.get('PATH', '')}",  # it starts gunicorn from there
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    argv = [str(site / "bin/mlflow"), "gateway", "start", "--config-path", str(config)]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = rig.processes.start(argv, log=log, env=env, cwd=rig.folder)
    name = f"mlflow, {Api.CHAT}"
    target = Target(name=name, port=port, pids=(process.pid,), api=Api.CHAT)
    return [ready(target, process, log, seconds=60)]


def _url(rig: Rig) -> str:
    return f"http://127.0.0.1:{rig.upstream.port}"


def _each_api(target: Target) -> list[Target]:
    return [replace(target, name=f"{target.name}, {api}", api=api) for api in Api]


PEERS: dict[str, Lane] = {"litellm": litellm, "portkey": portkey, "mlflow": mlflow}
