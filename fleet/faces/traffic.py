"""Model traffic as lines, rows and data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal

from fleet.core.traffic import NANO, Totals
from fleet.core.usage import Usage

MODEL_HEAD = (
    *("CALLS", "REQUESTS", "JOINED", "REPLAYED", "INPUT", "CACHED", "OUTPUT", "COST", "SAVED"),
    "MODEL",
)
_CENT = Decimal("0.01")


def summary_lines(totals: Totals) -> list[str]:
    """What a run's model traffic came to; nothing where there was none."""
    if not totals.requests and not totals.calls:
        return []
    counts = [
        f"requests {totals.requests}",
        f"upstream calls {totals.calls}",
        f"joined {totals.joined}",
        f"replayed {totals.replayed}",
    ]
    if totals.bypassed:
        counts.append(f"bypassed {totals.bypassed}")
    lines = [", ".join(counts), f"tokens {_tokens(totals.usage)}, cost {_cost(totals)}"]
    if totals.saved:
        lines.append(f"saved {_tokens(totals.saved)}, {_saved(totals)}")
    return lines


def page(totals: Totals, reasons: Mapping[str, int]) -> list[str]:
    """The body of `fleet proxy stats`."""
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    about = "; estimated in part" if totals.usage.estimated else ""
    used = totals.usage
    return [
        f"requests          {totals.requests:,}",
        f"  led a call      {totals.led:,}",
        f"  joined one      {totals.joined:,}",
        f"  replayed        {totals.replayed:,}",
        f"  bypassed        {totals.bypassed:,}" + (f": {why}" if why else ""),
        f"  turned away     {totals.turned_away:,}",
        f"  gone too soon   {totals.gone:,}",
        f"upstream calls    {totals.calls:,}, {totals.incomplete:,} of them not complete",
        f"tokens            {_tokens(used)}{about}",
        f"  input, fresh    {used.input:,}",
        f"  cache reads     {used.cache_read:,}, {totals.cache_hit_share:.1%} of all input",
        f"  cache writes    {used.cache_write_5m:,} for 5 min, {used.cache_write_1h:,} for 1 h",
        f"  reasoning       {used.reasoning:,} of the output",
        f"cost              {_cost(totals)}",
        f"saved             {_tokens(totals.saved)}, {_saved(totals)}",
    ]


def model_row(model: str, totals: Totals) -> tuple[str, ...]:
    numbers = (totals.calls, totals.requests, totals.joined, totals.replayed)
    used = totals.usage
    tokens = (used.total_input, used.cache_read, used.output)
    return (
        *(f"{number:,}" for number in (*numbers, *tokens)),
        _short(totals.cost, totals.unpriced),
        _short(totals.saved_cost, totals.saved_unpriced),
        model or "-",
    )


def as_data(totals: Totals, reasons: Mapping[str, int] | None = None) -> dict[str, object]:
    """For programs; money in whole nano-dollars, as it is kept."""
    data: dict[str, object] = asdict(totals)
    data["cost_nano_usd"] = data.pop("cost")
    data["saved_nano_usd"] = data.pop("saved_cost")
    data["turned_away"] = totals.turned_away
    data["cache_hit_share"] = round(totals.cache_hit_share, 6)
    if reasons is not None:
        data["bypass_reasons"] = dict(reasons)
    return data


def dollars(nano: int) -> str:
    """Cents; of less than a dollar three digits that mean something."""
    amount = Decimal(nano) / NANO
    if not nano:
        return "$0"
    if amount < 1:
        amount = amount.quantize(Decimal(1).scaleb(max(amount.adjusted() - 2, -9)))
    if amount >= 1:
        return f"${amount.quantize(_CENT):,}"
    return f"${amount.normalize():f}" if amount < _CENT else f"${amount:f}"


def _tokens(usage: Usage) -> str:
    return f"{usage.total_input:,} in, {usage.output:,} out"


def _cost(totals: Totals) -> str:
    return _with_unknown(totals.cost, totals.unpriced, totals.calls, "calls")


def _saved(totals: Totals) -> str:
    shared = totals.joined + totals.replayed
    return _with_unknown(totals.saved_cost, totals.saved_unpriced, shared, "answers")


def _with_unknown(nano: int, unpriced: int, of: int, what: str) -> str:
    """Money that is not known is never shown as none."""
    if not unpriced:
        return dollars(nano)
    if not nano:
        return f"unknown: {unpriced:,} of {of:,} {what} have no known price"
    return f"{dollars(nano)}, and {unpriced:,} of {of:,} {what} without a known price"


def _short(nano: int, unpriced: int) -> str:
    if unpriced:
        return f"{dollars(nano)}+?" if nano else "?"
    return dollars(nano)
