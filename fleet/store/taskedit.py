"""`task add`: one more task at the end of a file a person wrote, and no other byte changed.

The new text is read back before it takes the old one's place, which it does at once or not at
all. Two `task add` on one folder take turns; a file that an editor saves meanwhile is read again.
"""

from __future__ import annotations

import fcntl
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from fleet.config import read_plain
from fleet.core.errors import ConfigError, FleetError, Problem, UsageError
from fleet.core.table import in_order
from fleet.core.toml import Document, parse
from fleet.store.files import write_private
from fleet.store.taskfiles import read

TRIES = 10
LONGEST_SLUG = 48
_EMPTY_LIST = re.compile(r"""[ \t]*(?:tasks|"tasks"|'tasks')[ \t]*=[ \t]*\[\s*\][ \t]*(?:\r?\n)?""")


def append(path: Path, fields: Mapping[str, object]) -> None:
    """Add a `[[tasks]]` to the file; make the file if there is none."""
    task = _plain(fields)
    block = "[[tasks]]\n" + tomli_w.dumps(task, multiline_strings=True)
    _refuse_unless_whole(block)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent) as folder:
        for _ in range(TRIES):
            seen = _stamp(path)
            old = _bytes(path) if seen else b""
            new = _extended(path.name, old, task, block)
            _refuse_unless_kept(path.name, old, new, task)
            if _replace(path, new, seen, folder):
                return
    raise FleetError(f"{path} changes all the time: close what writes to it and try again")


def slug(text: str, taken: Collection[str]) -> str:
    """A valid id that is not taken, made of the first words of a text."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain)
    name = ""
    for word in words:
        if len(name) + len(word) >= LONGEST_SLUG:
            break
        name = f"{name}-{word}" if name else word
    name = name or "".join(words)[:LONGEST_SLUG] or "task"
    used = {id_.casefold() for id_ in taken}
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}-{number}"
    return free


# -- the text -----------------------------------------------------------------------------------


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    """As TOML will give them back: "\\r\\n" is a line's end like any other, and so is "\\r\\r\\n",
    which would be one after the first reading."""
    task: dict[str, object] = {}
    for key, value in fields.items():
        if isinstance(value, str):
            value = re.sub(r"\r+\n", "\n", value)
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{key} is not valid UTF-8: write it in another way") from error
        task[key] = list(value) if isinstance(value, tuple) else value
    return task


def _refuse_unless_whole(block: str) -> None:
    document = parse(block.encode(), "the new task")
    problems = [document] if isinstance(document, Problem) else []
    if isinstance(document, Document):
        read(document, problems)
    if problems:
        texts = (f"{problem.what}\n    {problem.fix}".rstrip() for problem in in_order(problems))
        raise UsageError("the new task: " + "\n".join(texts))


def _extended(name: str, old: bytes, task: Mapping[str, object], block: str) -> bytes:
    document = _document(name, old)
    line = None if ("tasks", 0) in document.lines else document.lines.get(("tasks",))
    text = old.decode()
    if line is not None:
        start = sum(len(before) + 1 for before in text.split("\n")[: line - 1])
        empty = _EMPTY_LIST.match(text, start)
        if empty is None:
            return _into_list(text, task).encode()
        text = text[:start] + text[empty.end() :]  # `tasks = []` and `[[tasks]]` exclude each other
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    gap = end if text.strip() else ""
    return (text + gap + block.replace("\n", end)).encode()


def _into_list(text: str, task: Mapping[str, object]) -> str:
    """`tasks = [{…}]` takes no `[[tasks]]`: the new one goes into the list."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import Array

    refusal = FleetError("this file cannot be extended: write its tasks as [[tasks]]")
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise refusal from error
    tasks = document["tasks"]
    if not isinstance(tasks, Array) or tomlkit.dumps(document) != text:
        raise refusal
    inline = tomlkit.inline_table()
    inline.update(task)
    tasks.append(inline)
    return tomlkit.dumps(document)


def _refuse_unless_kept(name: str, old: bytes, new: bytes, task: Mapping[str, object]) -> None:
    before, after = dict(_document(name, old).data), dict(_document(name, new).data)
    tasks, more = before.pop("tasks", []), after.pop("tasks")
    assert isinstance(tasks, list) and isinstance(more, list)
    ids = {str(other.get("id")).casefold() for other in tasks if isinstance(other, dict)}
    if str(task["id"]).casefold() in ids:
        raise UsageError(f"there is a task {task['id']!r} in {name} already: choose another id")
    if before != after or more != [*tasks, task]:
        raise FleetError(f"{name}: the task cannot be added without changing others: edit the file")


def _document(name: str, raw: bytes) -> Document:
    found = parse(raw, name)
    if isinstance(found, Problem):
        raise ConfigError([found])
    return found


# -- the file -----------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    raw = read_plain(path, path.name)
    if isinstance(raw, Problem):
        raise ConfigError([raw])
    return raw


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Another one after every save; None if there is no file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """The folder itself is the lock, so that no file of ours is left in it."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FleetError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _replace(path: Path, new: bytes, seen: tuple[int, ...] | None, folder: int) -> bool:
    """Put the new bytes in place, unless somebody else has written the file since."""
    beside = path.with_name(f".{path.name}.new")
    write_private(beside, new, mode=0o600 if seen else 0o666)  # the umask is for new files
    try:
        if seen:
            beside.chmod(seen[0] & 0o7777)
        if _stamp(path) != seen:
            return False
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    os.fsync(folder)
    return True
