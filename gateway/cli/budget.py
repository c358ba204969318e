"""The steward's view of the privacy budget: what was spent, what is held, what is left; and how a limit is raised.

Invariants:
    - Figures come from the ledger's own accountant; nothing is added up here.
    - A raise takes two commands by two principals, and both stand in the log.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from gateway.access import Principals
from gateway.audit import Log
from gateway.budget import BudgetStatement, Charge, Ledgers, Limit, Raises
from gateway.budget.privacy_filter import composed_epsilon
from gateway.catalogue import Datasets, Policies
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.db import Work
from gateway.errors import InvalidRequest, NotAuthorised
from gateway.settings import Settings
from gateway.telemetry import utc_now
from policies.card import DatasetCard

__all__ = ["budget", "draw"]

WIDTH = 40
MAY_RAISE = frozenset({"steward", "admin", "reviewer", "compliance"})


@click.group()
def budget() -> None:
    """Privacy budgets: what a dataset's releases have cost, and what is left."""


@budget.command()
@click.argument("dataset")
@json_option
def show(*, dataset: str, as_json: bool) -> None:
    """Show the ledger of a dataset: limit, spent, reserved, remaining, by release and over time."""
    house = open_house(Settings())
    with house.database.read() as work:
        card, limits = stated_of(work, dataset)
        statement = Ledgers(work).statement(card, limits=limits, now=utc_now())
    emit(statement.to_json(), draw(statement), as_json=as_json)


@budget.command("raise")
@click.argument("dataset")
@click.option("--epsilon", help="The new limit of ε (to propose).")
@click.option("--delta", help="The new limit of δ; as it is where not given.")
@click.option("--reason", help="Why (to propose).")
@click.option("--approve", "proposal", type=int, help="Number of a proposal to approve, as a second person.")
@click.option("--as", "name", required=True, help="The principal who proposes or approves.")
@json_option
def raise_limit(
    *, dataset: str, epsilon: str | None, delta: str | None, reason: str | None, proposal: int | None, name: str, as_json: bool
) -> None:
    """Raise a limit: one principal proposes with a reason, another approves."""
    house = open_house(Settings())
    now = utc_now()
    with house.database.begin() as work:
        card, limits = stated_of(work, dataset)
        account = _account(work, name)
        if proposal is None:
            if epsilon is None or reason is None:
                raise InvalidRequest("to propose a raise, state --epsilon and --reason; to approve one, --approve NUMBER")
            made = Raises(work).propose(
                card, limits=limits, epsilon=_number(epsilon), delta=None if delta is None else _number(delta), reason=reason,
                by=account, now=now,
            )  # fmt: skip
            document = {
                "proposal": made.proposal_id,
                "ledger": made.ledger,
                "epsilon": str(made.epsilon),
                "delta": str(made.delta),
            }
            text = f"proposal {made.proposal_id}: raise '{made.ledger}' to ε = {made.epsilon}. A second person approves it."
            data = {**document, "reason": reason}
            Log(work).append("budget.raise-proposed", at=now, actor=account, dataset=dataset, data=data)
        else:
            limit = Raises(work).approve(card, proposal, limits=limits, by=account, now=now)
            document = {"proposal": proposal, "epsilon": str(limit.epsilon), "delta": str(limit.delta)}
            text = f"the limit of '{dataset}' is ε = {limit.epsilon} now"
            Log(work).append("budget.raised", at=now, actor=account, dataset=dataset, data=document)
        work.commit()
    emit(document, text, as_json=as_json)


def stated_of(work: Work, dataset: str) -> tuple[DatasetCard, tuple[Limit, ...]]:
    """The card of a dataset, and what the policies that cover it state as limits."""
    card = Datasets(work).get(dataset).card
    found = [
        (applied.name, applied.policy.spec.budget)
        for applied in Policies(work).for_dataset(dataset)
        if applied.policy.is_enforced
    ]
    limits = tuple(Limit(epsilon=stated.epsilon, delta=stated.delta, source=name) for name, stated in found if stated is not None)
    return card, limits


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
        lines.append(
            f"  at δ = {statement.limit.delta}, composed ({statement.mode or 'unbound'} filter): figures do not add up plainly"
        )
    lines += _history(statement, most)
    if statement.flagged:
        lines.append(f"  {statement.flagged} release(s) without any guarantee stand in this ledger: no ε bounds them")
    return "\n".join(lines)


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


def _account(work: Work, name: str) -> str:
    found: Any = Principals(work).get(name)
    if not MAY_RAISE & set(found.roles):
        raise NotAuthorised(f"'{name}' may not raise a budget; one of {', '.join(sorted(MAY_RAISE))} may")
    return str(found.account_id)
