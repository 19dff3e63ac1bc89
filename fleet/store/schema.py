"""The tables of `state.db`, as the migrations that made them: steps are only ever added."""

from __future__ import annotations

from fleet.store.database import Database, Migration


def _first(db: Database) -> None:
    for statement in (
        """CREATE TABLE tasks(
            id TEXT PRIMARY KEY, seq INTEGER NOT NULL, priority INTEGER NOT NULL,
            spec TEXT NOT NULL, paths TEXT NOT NULL, state TEXT NOT NULL,
            epoch INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
            conflicts INTEGER NOT NULL DEFAULT 0, unproven INTEGER NOT NULL DEFAULT 0,
            deaths INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '', landed TEXT NOT NULL DEFAULT ''
        ) WITHOUT ROWID""",
        """CREATE INDEX ready ON tasks(priority, seq, id)
            WHERE state = 'pending' AND waiting = 0""",
        "CREATE INDEX live ON tasks(state, id)",
        "CREATE INDEX listed ON tasks(seq)",
        "CREATE TABLE needs(task TEXT, needs TEXT, PRIMARY KEY(task, needs)) WITHOUT ROWID",
        "CREATE INDEX needed ON needs(needs)",
        """CREATE TABLE attempts(
            task TEXT NOT NULL, epoch INTEGER NOT NULL, worker TEXT NOT NULL, host TEXT NOT NULL,
            boot_id TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL,
            agent TEXT NOT NULL DEFAULT '', claimed_at REAL NOT NULL, ended_at REAL,
            outcome TEXT, reason TEXT NOT NULL DEFAULT '', base TEXT NOT NULL DEFAULT '',
            head TEXT NOT NULL DEFAULT '', merge TEXT NOT NULL DEFAULT '',
            findings TEXT NOT NULL DEFAULT '', submitted_at REAL,
            PRIMARY KEY(task, epoch)
        ) WITHOUT ROWID""",
        "CREATE UNIQUE INDEX accepted ON attempts(task) WHERE outcome = 'merged'",
        """CREATE TABLE events(
            seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
            task TEXT NOT NULL, epoch INTEGER NOT NULL, body TEXT NOT NULL
        )""",
        "CREATE INDEX told ON events(task, seq) WHERE task != ''",
        """CREATE TABLE reports(
            tree TEXT, gate_hash TEXT, body BLOB NOT NULL, made_at REAL NOT NULL,
            PRIMARY KEY(tree, gate_hash)
        ) WITHOUT ROWID""",
        "CREATE TABLE passes(tree TEXT PRIMARY KEY, base TEXT, at REAL) WITHOUT ROWID",
        """CREATE TABLE landings(
            "commit" TEXT PRIMARY KEY, task TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL,
            top TEXT NOT NULL, at REAL NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE externals("commit" TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE controls(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ):
        db.write(statement)


def _tokens(db: Database) -> None:
    db.write(
        """CREATE TABLE tokens(
            hash TEXT PRIMARY KEY, task TEXT NOT NULL, epoch INTEGER NOT NULL,
            agent TEXT NOT NULL, made_at REAL NOT NULL
        ) WITHOUT ROWID"""
    )


def _sessions(db: Database) -> None:
    db.write(
        """CREATE TABLE sessions(
            task TEXT NOT NULL, epoch INTEGER NOT NULL, agent TEXT NOT NULL,
            rooms INTEGER NOT NULL, base TEXT NOT NULL, session TEXT NOT NULL,
            PRIMARY KEY(task, epoch)
        ) WITHOUT ROWID"""
    )


def _notes(db: Database) -> None:
    db.write(
        """CREATE TABLE notes(
            task TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
            text TEXT NOT NULL, via TEXT NOT NULL, at REAL NOT NULL,
            PRIMARY KEY(task, epoch, seq)
        ) WITHOUT ROWID"""
    )


def _halts(db: Database) -> None:
    db.write(
        """CREATE TABLE halts(
            task TEXT NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL, until REAL NOT NULL,
            reason TEXT NOT NULL, PRIMARY KEY(task, epoch)
        ) WITHOUT ROWID"""
    )
    db.write(
        """CREATE TABLE turns(
            task TEXT NOT NULL, epoch INTEGER NOT NULL, turns INTEGER NOT NULL,
            PRIMARY KEY(task, epoch)
        ) WITHOUT ROWID"""
    )


MIGRATIONS: tuple[Migration, ...] = (_first, _tokens, _sessions, _notes, _halts)
