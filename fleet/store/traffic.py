"""What `calls.db` has to say: sums over its rows, by what they have in common, and the newest.

Reading goes on while the proxy writes, and where no proxy ever ran it finds nothing.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from fleet.core.task import TaskId
from fleet.core.traffic import BYPASS, JOINED, LEADER, REPLAYED, Call, Ended, Served, Totals
from fleet.core.usage import Usage
from fleet.store.calls import MIGRATIONS, USAGE
from fleet.store.database import MEMORY, Database, Row

_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in USAGE[:-1]) + (
    ", coalesce(max(estimated), 0)"
)
_USED = "(input + cache_read + cache_write_5m + cache_write_1h + output > 0)"
_OF_CALLS = (
    f"count(*), coalesce(sum(ended != '{Ended.COMPLETE}'), 0), coalesce(sum(cost), 0), "
    f"coalesce(sum(priced = 0 AND {_USED}), 0), {_SUMS}"
)
_OF_SERVED = (
    f"count(*), coalesce(sum(dedup = '{LEADER}'), 0), coalesce(sum(dedup = '{JOINED}'), 0), "
    f"coalesce(sum(dedup = '{REPLAYED}'), 0), coalesce(sum(dedup LIKE '{BYPASS}%'), 0), "
    "coalesce(sum(gone), 0), coalesce(sum(saved_cost), 0), "
    f"coalesce(sum(priced = 0 AND {_USED}), 0), {_SUMS}"
)


class By(StrEnum):
    """What calls and requests have in common."""

    MODEL = "model"
    AGENT = "agent"
    TASK = "task"


_WHERE = "WHERE (?1 IS NULL OR task = ?1) AND (?2 IS NULL OR at >= ?2)"
_ALL = (
    f"SELECT * FROM (SELECT {_OF_CALLS} FROM calls {_WHERE}), "  # noqa: S608 - constants of ours
    f"(SELECT {_OF_SERVED} FROM served {_WHERE})"
)
_GROUPED = {
    by: (
        f"SELECT {by}, {_OF_CALLS} FROM calls {_WHERE} GROUP BY 1",  # noqa: S608
        f"SELECT {by}, {_OF_SERVED} FROM served {_WHERE} GROUP BY 1",  # noqa: S608
    )
    for by in By
}
_BYPASSES = (
    f"SELECT dedup, count(*) FROM served {_WHERE} AND dedup LIKE '{BYPASS}%' "  # noqa: S608
    "GROUP BY 1 ORDER BY 2 DESC, 1"
)
_WIDTH = 4 + len(USAGE)  # of _OF_CALLS


def open_calls(path: Path) -> Database:
    """For reading; an empty one in memory where there is none yet."""
    if path.exists():
        found = Database(path, read_only=True)
        if found.check_schema(MIGRATIONS):
            return found
        found.close()  # its maker has only just begun
    empty = Database(MEMORY)
    empty.migrate(MIGRATIONS)
    return empty


def totals(db: Database, *, task: TaskId | None = None, since: float | None = None) -> Totals:
    """In one statement: calls and requests of the same moment."""
    row = db.rows(_ALL, (task, since))[0]
    return _of_calls(row[:_WIDTH]) + _of_served(row[_WIDTH:])


def totals_by(
    db: Database, by: By, *, task: TaskId | None = None, since: float | None = None
) -> dict[str, Totals]:
    """Who spent most comes first."""
    calls, served = _GROUPED[by]
    found = {str(row[0]): _of_calls(row[1:]) for row in db.rows(calls, (task, since))}
    for row in db.rows(served, (task, since)):
        name = str(row[0])
        found[name] = found.get(name, Totals()) + _of_served(row[1:])
    order = sorted(found, key=lambda name: (-found[name].cost, -found[name].requests, name))
    return {name: found[name] for name in order}


def bypasses(
    db: Database, *, task: TaskId | None = None, since: float | None = None
) -> dict[str, int]:
    """Why answers were shared with nobody, and how often; the most frequent first."""
    rows = db.rows(_BYPASSES, (task, since))
    return {str(dedup).partition(":")[2]: _int(count) for dedup, count in rows}


def spent_by(db: Database, by: By, *, since: float | None = None) -> dict[str, int]:
    """Nano-dollars, by what calls have in common; without what is set aside."""
    sql = (
        f"SELECT {by}, sum(cost) FROM calls "  # noqa: S608 - a constant of ours
        "WHERE (?1 IS NULL OR at >= ?1) GROUP BY 1 HAVING sum(cost) > 0"
    )
    return {str(name): _int(amount) for name, amount in db.rows(sql, (since,))}


def set_aside(db: Database) -> int:
    """Nano-dollars, for calls that are under way."""
    row = db.one("SELECT coalesce(sum(amount), 0) FROM reservations")
    return _int(row[0]) if row else 0


def latest_calls(db: Database, limit: int) -> list[Call]:
    """The newest first."""
    rows = db.rows("SELECT * FROM calls ORDER BY id DESC LIMIT ?", (limit,))
    return [_call(row) for row in rows]


def latest_served(db: Database, limit: int) -> list[Served]:
    """The newest first."""
    rows = db.rows("SELECT * FROM served ORDER BY id DESC LIMIT ?", (limit,))
    return [_served(row[1:]) for row in rows]


def _of_calls(row: Row) -> Totals:
    calls, incomplete, cost, unpriced = map(_int, row[:4])
    return Totals(
        calls=calls, incomplete=incomplete, cost=cost, unpriced=unpriced, usage=_usage(row[4:])
    )


def _of_served(row: Row) -> Totals:
    requests, led, joined, replayed, bypassed, gone, cost, unpriced = map(_int, row[:8])
    return Totals(
        requests=requests,
        led=led,
        joined=joined,
        replayed=replayed,
        bypassed=bypassed,
        gone=gone,
        saved_cost=cost,
        saved_unpriced=unpriced,
        saved=_usage(row[8:]),
    )


def _usage(row: Row) -> Usage:
    fresh, read, write_5m, write_1h, output, reasoning, estimated = map(_int, row)
    return Usage(
        input=fresh,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output,
        reasoning=reasoning,
        estimated=bool(estimated),
    )


def _call(row: Row) -> Call:
    id_, at, task, epoch, agent, upstream, model, answered, endpoint, status, ended, fault = row[
        :12
    ]
    cost, priced, first_byte_s, total_s, bytes_in, bytes_out = row[19:]
    return Call(
        id=_int(id_),
        at=_float(at),
        task=str(task),
        epoch=_int(epoch),
        agent=str(agent),
        upstream=str(upstream),
        model=str(model),
        answered_model=str(answered),
        endpoint=str(endpoint),
        status=_int(status),
        ended=Ended(str(ended)),
        fault=str(fault),
        usage=_usage(row[12:19]),
        cost=_int(cost),
        priced=bool(priced),
        first_byte_s=_float(first_byte_s),
        total_s=_float(total_s),
        bytes_in=_int(bytes_in),
        bytes_out=_int(bytes_out),
    )


def _served(row: Row) -> Served:
    at, task, epoch, agent, session, endpoint, model, dedup, call, status, gone, size = row[:12]
    saved_cost, wait_s, total_s, priced = row[19:]
    return Served(
        at=_float(at),
        task=str(task),
        epoch=_int(epoch),
        agent=str(agent),
        session=str(session),
        endpoint=str(endpoint),
        model=str(model),
        dedup=str(dedup),
        call=_int(call),
        status=_int(status),
        gone=bool(gone),
        bytes=_int(size),
        saved=_usage(row[12:19]),
        saved_cost=_int(saved_cost),
        wait_s=_float(wait_s),
        total_s=_float(total_s),
        priced=bool(priced),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _float(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)
