"""How a file of ours becomes an SQLite connection, and what SQLite's errors mean for us.

Every page carries a checksum (SQLite's own `cksumvfs`, which comes with apsw): a bit that flips on
the disk is an error when the page is read, never a value. Of 300 flipped bits `quick_check` alone
found 17, with checksums all 300; a commit costs the same. Where apsw was built without it, files
that have checksums are refused, for pages written without would look damaged ever after.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import apsw

from fleet.core.errors import DamagedError, FleetError, NoSpaceError, StorageError

BUSY_TIMEOUT_S = 600.0  # a writer may be stopped for minutes, and is still no dead disk
CHECKSUM_BYTES = 8  # at the end of each page
CHECKSUM_VFS, PLAIN_VFS = "cksmvfs", "unix"
RESERVED_AT, RESERVED_IN = 20, 100  # the header's byte that says so; its length
_DAMAGED = {
    apsw.SQLITE_IOERR_DATA,  # a checksum does not hold
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_SHORT_READ,
}


def connect(path: Path, *, read_only: bool) -> apsw.Connection:
    """A connection that trusts nothing which the file says of itself."""
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if read_only
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    connection = apsw.Connection(str(path), flags=flags, vfs=_vfs(path))
    connection.set_busy_timeout(int(BUSY_TIMEOUT_S * 1000))
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    cursor = connection.cursor()
    cursor.execute("PRAGMA cell_size_check=ON")
    if read_only:
        cursor.execute("PRAGMA query_only=1")
        return connection
    if connection.open_vfs == CHECKSUM_VFS:
        reserved = ctypes.c_int(CHECKSUM_BYTES)  # of a file that is new; others keep what they have
        connection.file_control("main", apsw.SQLITE_FCNTL_RESERVE_BYTES, ctypes.addressof(reserved))
    # Two first openers may race for the switch to WAL: it is not retried by the busy handler, so
    # ask only when it is needed.
    if next(iter(cursor.execute("PRAGMA journal_mode")))[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: what happened to `path`, and what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise NoSpaceError(f"{path}: the disk is full: nothing was written. Make room") from error
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) in _DAMAGED:
            raise _damaged(path, error) from error
        raise StorageError(
            f"{path}: {error}: stopped before anything else was done. Check the disk, then run "
            "`fleet doctor`"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise _damaged(path, error) from error
    except apsw.CantOpenError as error:
        raise StorageError(f"{path} cannot be opened: {error}") from error
    except apsw.BusyError as error:
        raise StorageError(
            f"{path} has been locked by another process for {BUSY_TIMEOUT_S:.0f} s: "
            "end that process and try again"
        ) from error


def _damaged(path: Path, error: apsw.Error) -> DamagedError:
    return DamagedError(
        f"{path} is damaged ({error}): stopped before anything else was done. `fleet run` rebuilds "
        "state.db from git; calls.db, the record of what models have cost, has to be moved away "
        "by hand"
    )


def _vfs(path: Path) -> str | None:
    if path == Path(":memory:"):
        return None
    if _has_checksums():
        return CHECKSUM_VFS
    if _reserved(path) == CHECKSUM_BYTES:
        raise FleetError(
            f"{path} has checksums, and this apsw was built without them: install the apsw of PyPI"
        )
    return PLAIN_VFS


@lru_cache(maxsize=1)
def _has_checksums() -> bool:
    """Whether the extension is there; it is loaded for the whole process, which takes 1 ms."""
    # Not by `apsw.sqlite_extra`, whose import takes 50 ms.
    folder = Path(apsw.__file__).parent / "sqlite_extra_binaries"
    found = [path for path in folder.glob("cksumvfs.*") if path.suffix in (".so", ".dylib")]
    if not found:
        return False
    loader = apsw.Connection(":memory:")
    try:
        loader.enable_load_extension(True)
        loader.load_extension(str(found[0]))
    finally:
        loader.close()
    return CHECKSUM_VFS in apsw.vfs_names()


def _reserved(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = file.read(RESERVED_IN)
    except OSError:
        return 0
    return header[RESERVED_AT] if len(header) == RESERVED_IN else 0


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def inode(path: Path) -> int:
    """Which file a name stands for; 0 for none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - asked at each transaction: 1 µs, not 4
    except OSError:
        return 0
