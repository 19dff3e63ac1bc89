"""Who answers model calls: `[proxy.upstreams.NAME]`, or what the environment names.

Keys are never here: only the names of the variables that hold them. What may be a key or a
password in a wrong place is refused without being repeated in the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fleet.config.addresses import wrong_url
from fleet.config.kinds import (
    AUTH,
    BASE_URL,
    OFFICIAL,
    OWN_MODELS,
    VARIABLES,
    Auth,
    UpstreamKind,
)
from fleet.config.plain import wrong_glob
from fleet.core.errors import Problem
from fleet.core.table import Table, did_you_mean, shown
from fleet.core.toml import Document

PATH = ("proxy", "upstreams")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")  # upper case, as no key is


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    name: str
    kind: UpstreamKind
    urls: tuple[str, ...] = ()  # replicas; without the `/v1` that every path begins with
    keys: tuple[str, ...] = ()  # names of variables; (): an agent's own login is passed on
    models: tuple[str, ...] = ()  # globs; () is any
    script: str = ""  # absolute
    auth: Auth = Auth.BEARER
    stream_usage: bool = True  # streams of Chat may be asked for what they used

    def takes(self, model: str) -> bool:
        """ "" is a model nobody knows yet."""
        return not (self.models and model) or any(fnmatchcase(model, glob) for glob in self.models)

    def lacks_key(self, variables: Mapping[str, str]) -> bool:
        return bool(self.keys) and not any(variables.get(name) for name in self.keys)


def read_upstreams(
    table: Table, document: Document, *, environ: Mapping[str, str], top: Path
) -> tuple[UpstreamConfig, ...]:
    """`table` is `[proxy]`. Those of the file in its order, or what the environment offers."""
    table.table("upstreams")  # says so when it is no table
    if not table.where("upstreams").startswith(document.name):
        table.report("upstreams", "upstreams cannot be set by a variable", "write fleet.toml")
    section = document.data.get(PATH[0])
    named = section.get(PATH[1]) if isinstance(section, dict) else None
    if not isinstance(named, dict) or not named:
        return tuple(_offered(environ, table.problems))
    found = []
    for name, raw in named.items():
        path = (*PATH, name)
        if not isinstance(raw, dict):
            where, fix = document.where(path), f"write it as [{'.'.join(path)}]"
            table.problems.append(Problem(where=where, what=f"{name} must be a table", fix=fix))
            continue
        rest = {key: value for key, value in raw.items() if key not in ("url", "keys")}
        entry = _Entry(name, raw, Table(rest, document, table.problems, path), environ, top)
        upstream = entry.read()
        if upstream is not None:
            found.append(upstream)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One `[proxy.upstreams.NAME]`. What could be a secret is kept out of its table's reach."""

    name: str
    raw: Mapping[str, object]
    table: Table
    environ: Mapping[str, str]
    top: Path

    def read(self) -> UpstreamConfig | None:
        table = self.table
        if not _NAME.fullmatch(self.name):
            what = f"{shown(self.name)} is no name for an upstream"
            table.report("", what, "use a-z, 0-9, '.', '_', '-'")
        for key in ("url", "keys"):
            table.text(key)  # not there: only to say that they are known
        written = table.text("kind", required=True)
        models = table.texts("models")
        script = table.text("script")
        insecure = table.boolean("insecure", default=False)
        stream_usage = table.boolean("stream_usage", default=True)
        if written not in list(UpstreamKind):
            table.text("auth")  # without a kind nothing can be said of it
            if written:
                what = f"kind is {shown(written)}"
                table.report("kind", what, did_you_mean(written, list(UpstreamKind)))
            table.finish()
            return None
        kind = UpstreamKind(written)
        urls, keys, auth = self._urls(kind, insecure), *self._keys(kind)
        found = UpstreamConfig(
            name=self.name,
            kind=kind,
            urls=urls,
            keys=keys,
            models=models,
            script=self._script(kind, script),
            auth=table.choice("auth", auth),
            stream_usage=stream_usage,
        )
        table.finish()
        return found

    def _urls(self, kind: UpstreamKind, insecure: bool) -> tuple[str, ...]:
        if kind is UpstreamKind.SCRIPT:
            if "url" in self.raw:
                self.table.report("url", "a script is played by the proxy itself", "take url out")
            return ()
        if "url" not in self.raw:
            usual = OFFICIAL.get(kind) or _from_variable(kind, self.environ, self.table.problems)
            if not usual:
                self.table.report("url", "url is missing", 'such as url = "http://127.0.0.1:8080"')
            return (usual,) if usual else ()
        good = []
        for number, url in self._texts("url"):
            what, fix = wrong_url(url, insecure=insecure)
            if what:
                which = f"url {number}" if isinstance(self.raw["url"], list) else "url"
                self.table.report("url", f"{which} {what}", fix)
            else:
                good.append(_base(kind, url))
        return tuple(dict.fromkeys(good))

    def _keys(self, kind: UpstreamKind) -> tuple[tuple[str, ...], Auth]:
        """Without `keys` a provider's usual variable, but never for an address of your own."""
        usual = AUTH.get(kind, Auth.BEARER)
        if "keys" not in self.raw:
            if kind in OFFICIAL and "url" not in self.raw:
                return _usual_key(kind, self.environ)
            return (), usual
        good = []
        for number, name in self._texts("keys"):
            if _VARIABLE.fullmatch(name):
                good.append(name)
                continue
            self.table.report(
                "keys",
                f"keys: item {number} is no name of a variable",
                'write the name of the variable that holds the key, as in keys = ["MY_KEY"]; if '
                "this was a key itself, have a new one made: others may have read it",
            )
        if kind is UpstreamKind.SCRIPT and good:
            self.table.report("keys", "a script needs no keys", "take keys out")
        return tuple(dict.fromkeys(good)), usual

    def _texts(self, key: str) -> Iterator[tuple[int, str]]:
        """A text or a list of texts, with their numbers; nothing of it is ever shown."""
        value = self.raw[key]
        items = value if isinstance(value, list) else [value]
        if key == "url" and not items:
            self.table.report(key, "url is empty", "name at least one address, or leave it out")
        for number, item in enumerate(items, 1):
            if isinstance(item, str) and item.strip():
                yield number, item
            else:
                fix = f'write {key} = "…" or {key} = ["…", "…"]'
                self.table.report(key, f"{key}: item {number} is no text, or empty", fix)

    def _script(self, kind: UpstreamKind, script: str) -> str:
        if kind is not UpstreamKind.SCRIPT:
            if script:
                self.table.report("script", 'script needs kind = "script"', "take one of them out")
            return ""
        what = wrong_glob(script) if script else "is missing"
        place = self.top / script
        if not what and not place.resolve().is_relative_to(self.top.resolve()):
            what = "leads out of the repository"
        if not what and (place.is_symlink() or not place.is_file()):
            what = f"({shown(script)}) is no plain file"
        if what:
            self.table.report("script", f"script {what}", 'such as script = "tests/model.toml"')
        return str(place)


def _usual_key(kind: UpstreamKind, environ: Mapping[str, str]) -> tuple[tuple[str, ...], Auth]:
    """The first of a provider's variables that is set, or its first."""
    usual = VARIABLES[kind]
    name, auth = next((pair for pair in usual if environ.get(pair[0])), usual[0])
    return (name,), auth


def _offered(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[UpstreamConfig]:
    """Each provider at its own address or the one its variable says. Beside a llama.cpp server,
    which takes every model, they are asked only for what is theirs, and only with a key."""
    local = environ.get(BASE_URL[UpstreamKind.LLAMA_CPP], "")
    for kind, official in OFFICIAL.items():
        keys, auth = _usual_key(kind, environ)
        if local and not environ.get(keys[0]):
            continue
        yield UpstreamConfig(
            name=kind.value,
            kind=kind,
            urls=(_from_variable(kind, environ, problems) or official,),
            keys=keys,
            models=OWN_MODELS.get(kind, ()) if local else (),
            auth=auth,
        )
    if local:
        kind = UpstreamKind.LLAMA_CPP
        url = _from_variable(kind, environ, problems)
        yield UpstreamConfig(name=kind.value, kind=kind, urls=(url,) if url else ())


def _from_variable(kind: UpstreamKind, environ: Mapping[str, str], problems: list[Problem]) -> str:
    name = BASE_URL.get(kind, "")
    url = environ.get(name, "")
    if not url:
        return ""
    what, fix = wrong_url(url, insecure=False)
    if what:
        problems.append(Problem(where=name, what=f"{name} {what}", fix=fix))
    return _base(kind, url)


def _base(kind: UpstreamKind, url: str) -> str:
    """Without what every path begins with: people write it both ways."""
    base = url.rstrip("/")
    return base if kind is UpstreamKind.GEMINI else base.removesuffix("/v1").rstrip("/")
