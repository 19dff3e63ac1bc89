"""`fleet status`: where the fleet stands now."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table


def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """What runs, what waits, what has ended; and whether a coordinator is at work."""
    import time

    from fleet import control
    from fleet.cli.opening import view
    from fleet.core.task import IN_FLIGHT, TaskState
    from fleet.faces.render import status_lines, task_row
    from fleet.store.claims import is_held
    from fleet.store.controls import Controls
    from fleet.store.roster import Roster

    seen = view()
    db = seen.view.db
    orders = control.read(Controls(db))
    counts = Roster(db).counts()
    running = is_held(seen.layout.coordinator_lock)
    shown = {*IN_FLIGHT, TaskState.PARKED}
    in_flight = [entry for entry in seen.tasks() if entry.state in shown]
    now = time.time()
    new = len(seen.tasks()) - counts.total
    if as_json:
        say_json(
            {
                "running": running,
                "paused": orders.paused,
                "paused_until": orders.until if orders.waits(now) else None,
                "waits": orders.waits(now),
                "stopping": orders.stop,
                "tasks": {state.value: number for state, number in counts.by_state},
                "not_seen_by_a_run": new,
                "in_flight": [
                    {
                        "task": entry.task.id,
                        "epoch": entry.epoch,
                        "state": entry.state,
                        "worker": entry.worker,
                        "agent": entry.agent,
                    }
                    for entry in in_flight
                ],
            }
        )
        return
    for line in status_lines(
        counts,
        running=running,
        paused=orders.paused or orders.waits(now),
        stopping=orders.stop,
        new=new,
    ):
        say(line)
    table(("STATE", "TASK", "PRIORITY", "TRIES", "WHAT"), [task_row(entry) for entry in in_flight])
