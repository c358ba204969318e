"""The steward's view of the privacy budget: what was spent, what is held, what is left; and how a limit is raised.

Invariants:
    - Figures come from the ledger's own accountant; nothing is added up here.
    - A raise takes two signatures of two principals; what each signed is read from the ledger, never typed twice.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from gateway.access import load_private_key
from gateway.budget import BudgetStatement, Charge, Ledgers, Proposal, Raises
from gateway.budget.privacy_filter import composed_epsilon
from gateway.budget.statement import WindowStatement
from gateway.catalogue import Datasets
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.errors import InvalidRequest
from gateway.releases.documents import limits_of
from gateway.releases.raising import approve_raise, propose_raise, sign_act
from gateway.settings import Settings
from gateway.telemetry import utc_now
from policies.canonical import decimal_text
from policies.quantities import duration_text

__all__ = ["budget", "draw"]

WIDTH = 40


@click.group()
def budget() -> None:
    """Privacy budgets: what a dataset's releases have cost, and what is left."""


@budget.command()
@click.argument("dataset")
@json_option
def show(*, dataset: str, as_json: bool) -> None:
    """Show the ledger of a dataset: limit, windows, spent, reserved, remaining, by release and over time, and open proposals."""
    house = open_house(Settings())
    with house.database.read() as work:
        card = Datasets(work).get(dataset).card
        statement = Ledgers(work).statement(card, limits=limits_of(work, card), now=utc_now())
        waiting = [found for found in Raises(work).list(card) if not found.is_approved]
    document = {**statement.to_json(), "proposals": [_proposed(found) for found in waiting]}
    lines = [draw(statement), *(f"  {_waits(found)}" for found in waiting)]
    emit(document, "\n".join(lines), as_json=as_json)


@budget.command("raise")
@click.argument("dataset")
@click.option("--epsilon", help="The new limit of ε (to propose).")
@click.option("--delta", help="The new limit of δ; as it is where not given.")
@click.option("--reason", help="Why, in at least ten characters (to propose).")
@click.option("--approve", "number", type=click.IntRange(min=1), help="Number of a proposal to approve, as a second person.")
@click.option("--as", "name", required=True, help="The principal who proposes or approves.")
@click.option(
    "--key", "key_file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The private key of that principal."
)
@json_option
def raise_limit(
    *,
    dataset: str,
    epsilon: str | None,
    delta: str | None,
    reason: str | None,
    number: int | None,
    name: str,
    key_file: Path,
    as_json: bool,
) -> None:
    """Raise a limit: one principal signs a proposal with a reason, another signs the same figures."""
    house, key, now = open_house(Settings()), load_private_key(key_file), utc_now()
    if (number is None) != (epsilon is not None and reason is not None) or (number is not None and (epsilon or delta or reason)):
        raise click.UsageError("to propose, state --epsilon and --reason; to approve, --approve NUMBER alone")
    if number is None:
        act = {"act": "propose", "dataset": dataset, "epsilon": _number(str(epsilon)), "reason": reason}
        act["delta"] = None if delta is None else _number(delta)
        made = propose_raise(house, sign_act(principal=name, audience=house.issuer, act=act, private_key=key, now=now), now=now)
        text = f"proposal {made.proposal_id}: raise '{made.ledger}' to ε = {made.epsilon}. A second person approves it with\n"
        text += f"  ticketgate budget raise {dataset} --approve {made.proposal_id} --as NAME --key FILE"
    else:
        with house.database.read() as work:
            found = Raises(work).get(number)
        act = {"act": "approve", "dataset": dataset, "proposal": number}
        act |= {"epsilon": found.epsilon, "delta": found.delta, "reason": found.reason}
        made = approve_raise(house, sign_act(principal=name, audience=house.issuer, act=act, private_key=key, now=now), now=now)
        text = f"the limit of '{made.ledger}' is ε = {made.epsilon}, δ = {made.delta} now: {made.reason}"
    emit(_proposed(made), text, as_json=as_json)


def _proposed(found: Proposal) -> dict[str, Any]:
    return {
        "proposal": found.proposal_id,
        "ledger": found.ledger,
        "epsilon": _told(found.epsilon),
        "delta": _told(found.delta),
        "reason": found.reason,
        "at": found.at.isoformat(),
    }


def _told(figure: Decimal | None) -> str | None:
    return None if figure is None else decimal_text(figure)


def _waits(found: Proposal) -> str:
    return f"proposal {found.proposal_id} waits for a second person: raise to ε = {found.epsilon} ({found.reason})"


def draw(statement: BudgetStatement) -> str:
    """The ledger as text: bars, then one line a release with the lifetime ε after it."""
    lines = [f"ledger {statement.ledger}"]
    if statement.limit is None or statement.limit.epsilon is None:
        lines.append(f"  no limit is stated; spent ε = {statement.spent.epsilon}, reserved ε = {statement.reserved.epsilon}")
        most = max((figure for figure in (statement.spent.epsilon, Decimal(1)) if figure is not None), default=Decimal(1))
    else:
        most = statement.limit.epsilon
        bars = (("limit", most), ("spent", statement.spent.epsilon), ("reserved", statement.reserved.epsilon))
        lines += [_bar(name, figure, most) for name, figure in bars]
        lines.append(_bar("remaining", None if statement.remaining is None else statement.remaining.epsilon, most))
        lines.append(_bar("lifetime", statement.lifetime.epsilon, most))
        lines += [_window(window) for window in statement.windows]
        lines.append(
            f"  at δ = {statement.limit.delta}, composed ({statement.mode or 'unbound'} filter): figures do not add up plainly"
        )
    lines += _history(statement, most)
    if statement.flagged:
        lines.append(f"  {statement.flagged} release(s) without any guarantee stand in this ledger: no ε bounds them")
    return "\n".join(lines)


def _window(window: WindowStatement) -> str:
    spent = "no bound" if window.spent is None else f"{window.spent:.4f}"
    line = f"{spent} of {window.epsilon:.4f} within {duration_text(window.length)}; none comes back"
    return f"  {'window':9} {_blocks(window.spent, window.epsilon, WIDTH)} {line}"


def _history(statement: BudgetStatement, most: Decimal) -> list[str]:
    if not statement.charges:
        return ["  no release yet"]
    delta = statement.limit.delta if statement.limit is not None else (statement.spent.delta or Decimal("1e-6"))
    lines, seen = ["", f"  {'when':16}  {'release':14}  {'ε':>10}  {'status':9}  lifetime ε"], []
    for charge in statement.charges:
        if charge.loss.is_dp:
            seen.append(charge.loss)
        lines.append(_line(charge, composed_epsilon(seen, delta), most))
    return lines


def _line(charge: Charge, lifetime: Decimal | None, most: Decimal) -> str:
    entry = charge.settlement or charge.reserve
    shown = "no bound" if charge.loss.epsilon is None else f"{charge.loss.epsilon:.4f}"
    told = "∞" if lifetime is None else f"{lifetime:.4f}"
    bar = _blocks(lifetime, most, 20)
    return f"  {_moment(charge.at)}  {entry.release_id[:14]:14}  {shown:>10}  {entry.outcome:9}  {bar} {told}"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _bar(name: str, figure: Decimal | None, most: Decimal) -> str:
    return f"  {name:9} {_blocks(figure, most, WIDTH)} {'-' if figure is None else f'{figure:.4f}'}"


def _blocks(figure: Decimal | None, most: Decimal, width: int) -> str:
    filled = width if figure is None else min(width, int(figure / most * width + Decimal("0.5")))
    return "█" * filled + "░" * (width - filled)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(f"'{text}' is not a number") from None
