"""`fleet cost`: what models have cost, by whom and for what."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table


def cost(
    *,
    since: Annotated[str, typer.Option("--since", help='Only the last "90s", "30m", "1h".')] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Money spent: by task, agent and model, against the budgets, and what sharing has saved."""
    import contextlib
    import time

    from fleet.cli.length import length_s
    from fleet.cli.opening import view
    from fleet.faces import cost as face
    from fleet.store.controls import Controls
    from fleet.store.traffic import By, open_calls, set_aside, totals, totals_by

    now = time.time()
    after = now - length_s(since) if since else None
    seen = view()
    budget = seen.config.budget
    began = float(Controls(seen.view.db).get("run-began") or 0.0)
    with contextlib.closing(open_calls(seen.layout.calls_database)) as db:
        costs = face.Costs(
            total=totals(db, since=after),
            by_task=totals_by(db, By.TASK, since=after),
            by_agent=totals_by(db, By.AGENT, since=after),
            by_model=totals_by(db, By.MODEL, since=after),
            states=face.states(seen.tasks()),
            spending=tuple(
                face.Spending(name=name, spent=totals(db, since=start).cost, limit=face.nano(limit))
                for name, start, limit in (
                    ("run", began, budget.run_usd),
                    ("day", now - now % 86_400.0, budget.day_usd),
                )
                if start  # there has been a run
            ),
            set_aside=set_aside(db),
        )
    if as_json:
        say_json(face.as_data(costs))
        return
    for line in face.page(costs):
        say(line)
    for named, found in (
        ("TASK", costs.by_task),
        ("AGENT", costs.by_agent),
        ("MODEL", costs.by_model),
    ):
        if found:
            states = costs.states if named == "TASK" else {}
            say("")
            table(
                (*face.HEAD[:-1], named),
                [face.row(name, each, states.get(name)) for name, each in found.items()],
            )
