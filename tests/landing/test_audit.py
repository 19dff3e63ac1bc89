from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fleet.core.event import Event, Kind
from fleet.store import events
from fleet.store.claims import try_hold
from fleet.wiring import Fleet
from tests.landing.conftest import KEY, Audited


def test_a_clean_fleet_is_flagged_by_nothing(audited: Audited) -> None:
    assert audited.breaches(ANTHROPIC_API_KEY=KEY) == []


def claimed(fleet: Fleet, task: str, epoch: int) -> None:
    events.emit(fleet.db, Event(kind=Kind.CLAIMED, at=1.0, task=task, epoch=epoch))


def overlaps(fleet: Fleet) -> None:
    fleet.db.write("UPDATE tasks SET epoch = 7 WHERE id = 'bad'")
    for epoch in (6, 7):
        claimed(fleet, "bad", epoch)


def an_epoch_twice(fleet: Fleet) -> None:
    claimed(fleet, "bad", 1)
    events.emit(fleet.db, Event(kind=Kind.ENDED, at=1.0, task="bad", epoch=1))


def never_ended(fleet: Fleet) -> None:
    claimed(fleet, "bad", 2)
    fleet.db.write("UPDATE tasks SET epoch = 3 WHERE id = 'bad'")


def accepted_though_stale(fleet: Fleet) -> None:
    fleet.db.write("UPDATE tasks SET epoch = epoch + 1 WHERE id = 'one'")


def accepted_twice(fleet: Fleet) -> None:
    fleet.db.write("DROP INDEX accepted")
    fleet.db.write("DROP TABLE IF EXISTS copied")
    fleet.db.write("CREATE TABLE copied AS SELECT * FROM attempts WHERE task = 'one'")
    fleet.db.write("UPDATE copied SET task = 'bad'")
    fleet.db.write("DELETE FROM attempts WHERE task = 'bad'")
    fleet.db.write("ALTER TABLE attempts RENAME TO kept")
    fleet.db.write("CREATE TABLE attempts AS SELECT * FROM kept UNION ALL SELECT * FROM copied")
    fleet.db.write("INSERT INTO attempts SELECT * FROM copied")


def no_record_of_a_landing(fleet: Fleet) -> None:
    fleet.db.write("DELETE FROM landings WHERE task = 'two'")


def two_merge_commits(fleet: Fleet) -> None:
    git, tip = fleet.target.git, fleet.target.tip()
    message = git.run("log", "-1", "--format=%B", "--grep=Fleet-Task: one", "main").out
    again = git.run("commit-tree", f"{tip}^{{tree}}", "-p", f"{tip}", stdin=message).text
    git.run("update-ref", "refs/heads/main", again)
    fleet.db.write(
        "INSERT INTO landings SELECT ?, 'one again', 1, ?, at FROM landings LIMIT 1", (again, again)
    )


def the_branch_was_rewound(fleet: Fleet) -> None:
    fleet.target.git.run("update-ref", "refs/heads/main", "main~1")


def a_task_is_open(fleet: Fleet) -> None:
    fleet.db.write("UPDATE tasks SET state = 'pending', reason = '' WHERE id = 'bad'")


def work_is_under_no_ref(fleet: Fleet) -> None:
    for name in fleet.hub.refs("refs/fleet/attempts/bad/"):
        fleet.hub.git.run("update-ref", "-d", name)


def salvage_is_gone(fleet: Fleet) -> None:
    commit = fleet.hub.read_ref("refs/fleet/attempts/bad/1") or ""
    events.emit(fleet.db, Event(kind=Kind.SALVAGED, at=1.0, task="bad", epoch=1, commit=commit))


def a_tree_without_a_pass(fleet: Fleet) -> None:
    tip = fleet.target.git.run("rev-parse", "main^{tree}").text
    fleet.db.write("DELETE FROM passes WHERE tree = ?", (tip,))


def an_unmarked_commit_below_ours(fleet: Fleet) -> None:
    git, tip = fleet.target.git, fleet.target.tip()
    last = git.run("log", "-1", "--format=%B", "main").out
    hidden = git.run("commit-tree", "main~1^{tree}", "-p", "main~1", stdin=b"not ours\n").text
    ours = git.run("commit-tree", "main^{tree}", "-p", hidden, stdin=last).text
    git.run("update-ref", "refs/heads/main", ours)
    fleet.db.write(
        'UPDATE landings SET "commit" = ?, top = ? WHERE "commit" = ?', (ours, ours, tip)
    )
    fleet.db.write("DELETE FROM passes WHERE tree IN (SELECT base FROM passes)")
    proven = git.run("rev-parse", "main~1^{tree}").text
    fleet.db.write("DELETE FROM passes WHERE tree = ?", (proven,))
    fleet.db.write("UPDATE landings SET top = ?", (ours,))


BREACHES: dict[str, list[Callable[[Fleet], None]]] = {
    "A1": [overlaps, an_epoch_twice, never_ended],
    "A2": [accepted_though_stale],
    "A3": [accepted_twice, no_record_of_a_landing, two_merge_commits, the_branch_was_rewound],
    "A4": [a_task_is_open],
    "A5": [work_is_under_no_ref, salvage_is_gone],
    "A6": [a_tree_without_a_pass, an_unmarked_commit_below_ours],
}


@pytest.mark.parametrize(
    ("rule", "plant"), [(rule, plant) for rule, plants in BREACHES.items() for plant in plants]
)
def test_a_breach_is_flagged_by_its_own_rule(
    audited: Audited, rule: str, plant: Callable[[Fleet], None]
) -> None:
    fleet = audited.open()
    plant(fleet)
    fleet.close()
    assert audited.broken() == {rule}, audited.breaches()


def test_a_persons_commit_on_top_is_nobodys_fault(audited: Audited) -> None:
    fleet = audited.open()
    git = fleet.target.git
    mine = git.run("commit-tree", "main^{tree}", "-p", "main", stdin=b"mine\n").text
    git.run("update-ref", "refs/heads/main", mine)
    fleet.close()
    assert audited.breaches() == []


def test_a_merge_of_a_persons_is_no_rewound_branch(audited: Audited) -> None:
    fleet = audited.open()
    git = fleet.target.git
    parents = ("-p", "main~2", "-p", "main")
    merged = git.run("commit-tree", "main^{tree}", *parents, stdin=b"pulled\n").text
    git.run("update-ref", "refs/heads/main", merged)
    fleet.close()
    assert audited.breaches() == []


def test_a_parked_attempt_is_over_and_the_next_one_overlaps_nothing(audited: Audited) -> None:
    fleet = audited.open()
    for kind, epoch in ((Kind.CLAIMED, 2), (Kind.PARKED, 2), (Kind.UNPARKED, 2), (Kind.CLAIMED, 3)):
        events.emit(fleet.db, Event(kind=kind, at=1.0, task="bad", epoch=epoch))
    events.emit(fleet.db, Event(kind=Kind.ENDED, at=1.0, task="bad", epoch=3))
    fleet.db.write("UPDATE tasks SET epoch = 3 WHERE id = 'bad'")
    fleet.close()
    assert audited.breaches() == []


def test_what_is_about_to_be_recorded_is_no_breach(audited: Audited) -> None:
    """The branch has moved, and the lander has not yet said so."""
    fleet = audited.open()
    with fleet.db.transaction():
        fleet.db.write("DELETE FROM landings WHERE task = 'two'")
        fleet.db.write("UPDATE tasks SET state = 'landing' WHERE id = 'two'")
        fleet.db.write("UPDATE attempts SET outcome = NULL WHERE task = 'two'")
    lock = try_hold(fleet.layout.lander_lock)
    assert lock is not None
    with lock:
        assert audited.breaches() == []
    fleet.close()


def test_it_reads_one_moment_of_the_ledger(audited: Audited) -> None:
    fleet = audited.open()
    with fleet.db.snapshot():
        before = fleet.roster.counts()
        other = audited.open()
        with other.db.transaction():
            other.db.write("UPDATE tasks SET state = 'pending'")
        other.close()
        assert fleet.roster.counts() == before
    assert fleet.roster.counts() != before
    fleet.close()


@pytest.mark.parametrize("tasks", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_tasks_are_looked_through_in_no_time(audited: Audited, tasks: int) -> None:
    """As many attempts as that, with the files that each leaves."""
    fleet = audited.open()
    head = fleet.hub.read_ref("refs/fleet/attempts/bad/1")
    with fleet.db.transaction():
        for number in range(tasks):
            name = f"t{number}"
            fleet.db.write(
                "INSERT INTO tasks SELECT ?, seq, priority, spec, paths, state, epoch, attempts, "
                "conflicts, unproven, deaths, waiting, not_before, cancel, reason, landed "
                "FROM tasks WHERE id = 'bad'",
                (name,),
            )
            fleet.db.write(
                "INSERT INTO attempts(task, epoch, worker, host, boot_id, pid, started, "
                "claimed_at, head) VALUES(?, 1, 'w', 'h', 'b', 1, 1, 1, ?)",
                (name, head),
            )
            claimed_and_ended = ((Kind.CLAIMED, name), (Kind.ENDED, name))
            for kind, task in claimed_and_ended:
                events.append(fleet.db, Event(kind=kind, at=1.0, task=task, epoch=1))
    for number in range(tasks):
        folder = fleet.layout.attempt(f"t{number}", 1)
        folder.mkdir()
        for file in ("transcript.log", "prompt.md", "gate.json", "story.json"):
            (folder / file).write_text("what was said\n" * 20)
    fleet.close()
    began = time.process_time()
    assert audited.breaches(ANTHROPIC_API_KEY=KEY) == []
    assert time.process_time() - began < 2.0 + tasks / 2_000
