"""What a card says before any row is read: which column stands for which, which domain is open, what no model can keep.

Responsible for columns that equal each other (`==`), one of which is modelled and copied to the others, for the domains that
must be paid for, and for refusing cards that no model can keep. Pure: the web process may import it.

Invariants:
    - Only the card is read. What is refused here is refused before the first look at the data, when nothing is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import cast

from generator.errors import GeneratorError
from policies.card import Constraint, DatasetCard
from policies.columns import Column
from policies.types import PrivacyTarget

__all__ = ["copies", "is_open", "kept_delta", "learnt", "modelled", "open_columns", "possible_bounds", "refuse_impossible"]

FAILURE_PART = 10


def learnt(card: DatasetCard) -> tuple[str, ...]:
    """Columns that are modelled or copied: neither identifiers nor the privacy unit nor text."""
    unit = card.spec.privacy_unit
    return tuple(n for n, column in card.learnt.items() if column.type not in {"text", "id"} and n != unit)


def is_open(column: Column) -> bool:
    """Whether the card leaves a column's domain open, so that an estimate must be paid for."""
    if column.type == "category":
        return column.values is None
    return (column.is_numeric or column.is_temporal) and column.bounds is None


def possible_bounds(column: Column) -> tuple[float, float] | None:
    """The least and the greatest possible value of a number: bounds moved inwards to whole multiples of its step.

    Returns:
        None where the card states no bounds, or the column is no number.

    Raises:
        ValueError: no possible value lies between the bounds.
    """
    if column.bounds is None or not column.is_numeric:
        return None
    low, high = (cast("Decimal", bound) for bound in column.bounds)
    if column.type == "integer" or column.decimals is not None:
        digits = column.decimals or 0
        with localcontext(prec=400):
            low = low.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING)
            high = high.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR)
    if low > high:
        raise ValueError("no possible value lies between the bounds")
    return float(low), float(high)


def open_columns(card: DatasetCard) -> dict[str, Column]:
    """Modelled columns whose domain the card leaves open; of copies and of listed combinations nothing need be found out."""
    known = {*copies(card), *(name for constraint in _of_kind(card, "combinations") for name in constraint.columns)}
    return {name: card.columns[name] for name in learnt(card) if name not in known and is_open(card.columns[name])}


def kept_delta(card: DatasetCard, target: PrivacyTarget) -> Decimal:
    """The part of δ kept for finding the values of open categories: a tenth where there is one, else nothing."""
    return target.delta / FAILURE_PART if any(c.type == "category" for c in open_columns(card).values()) else Decimal(0)


def copies(card: DatasetCard) -> dict[str, str]:
    """Columns that equal another one: not modelled but copied, straight from the one that is modelled."""
    group: dict[str, set[str]] = {}
    for constraint in card.spec.constraints:
        if constraint.relation == "==":
            joined = set[str]().union(*(group.get(name, {name}) for name in constraint.columns))
            group |= dict.fromkeys(joined, joined)
    order = list(card.columns)
    modelled = {name: min(names, key=lambda other: (*_reasons(card, other), order.index(other))) for name, names in group.items()}
    return {name: modelled[name] for name in order if name in group and modelled[name] != name}


def modelled(card: DatasetCard, names: Sequence[str]) -> tuple[str, ...]:
    """Columns, each by the one that is modelled for it."""
    same = copies(card)
    return tuple(same.get(name, name) for name in names)


def _reasons(card: DatasetCard, name: str) -> tuple[bool, ...]:
    """What speaks against modelling this column of several equal ones, the weightiest first."""
    column = card.columns[name]
    return (
        name != card.spec.time_index,
        not any(name in listed.columns for listed in _of_kind(card, "combinations")),
        column.type != "integer",
        column.missing,
        is_open(column),
        name not in card.spec.targets,
    )


def refuse_impossible(card: DatasetCard) -> None:
    """Refuse what no model of this card could keep.

    Raises:
        GeneratorError: a relation joins columns that it cannot join, or the time index is an identifier; they are named.
    """
    index = card.spec.time_index
    if index is not None and index not in learnt(card):
        raise GeneratorError(f"time_index names '{index}', which is an identifier: its times are not learnt")
    for name in learnt(card):
        try:
            possible_bounds(card.columns[name])
        except ValueError as error:
            raise GeneratorError(f"'{name}' is {card.columns[name].type}, and none lies between its bounds") from error
    for constraint in card.spec.constraints:
        if constraint.relation == "==":
            _check_equal(card, *constraint.columns)
        elif constraint.relation == "combinations":
            _check_combinations(card, constraint)
        else:
            _check_order(card, *constraint.columns)
    for copied, source in copies(card).items():
        _check_copy(card, copied, source)
    _check_implied(card)


def _of_kind(card: DatasetCard, relation: str) -> list[Constraint]:
    return [constraint for constraint in card.spec.constraints if constraint.relation == relation]


def _check_equal(card: DatasetCard, a: str, b: str) -> None:
    known = set(learnt(card))
    if (a in known) != (b in known):
        hidden, other = (b, a) if a in known else (a, b)
        raise GeneratorError(f"'{other}' equals '{hidden}', which is never learnt: give it the same role and type")
    kinds = [card.columns[name].type for name in (a, b)]
    if kinds[0] != kinds[1] and not all(card.columns[name].is_numeric for name in (a, b)):
        raise GeneratorError(f"'{a}' cannot equal '{b}': one is a {kinds[0]}, the other a {kinds[1]}")
    if card.columns[a].timezone != card.columns[b].timezone:
        raise GeneratorError(f"'{a}' cannot equal '{b}': their time zones differ")


def _check_copy(card: DatasetCard, copied: str, source: str) -> None:
    a, b = card.columns[source], card.columns[copied]
    if source not in learnt(card):
        return
    if a.missing and not b.missing:
        raise GeneratorError(f"'{copied}' equals '{source}', which can be missing: say the same of both")
    domains = [(c.values and set(c.values), c.number_bounds(), c.time_bounds()) for c in (a, b)]
    if not is_open(b) and domains[0] != domains[1]:
        raise GeneratorError(f"'{copied}' equals '{source}': give both the same bounds or values")
    if any(copied in constraint.columns for constraint in _of_kind(card, "combinations")):
        raise GeneratorError(f"'{copied}' equals '{source}' and stands in a list of combinations; leave one of the two out")


def _check_combinations(card: DatasetCard, constraint: Constraint) -> None:
    for name in constraint.columns:
        if card.columns[name].type != "category" or name not in learnt(card):
            raise GeneratorError(f"allowed combinations are of categories that are learnt; '{name}' is none")
        if sum(name in other.columns for other in _of_kind(card, "combinations")) > 1:
            raise GeneratorError(f"'{name}' stands in two lists of combinations; make them one")


def _check_order(card: DatasetCard, a: str, b: str) -> None:
    known = {name for name in learnt(card) if card.columns[name].is_numeric or card.columns[name].is_temporal}
    if not {a, b} <= known:
        raise GeneratorError(f"the relation between '{a}' and '{b}' needs two numbers or two times that are learnt")
    if card.columns[a].is_temporal != card.columns[b].is_temporal:
        raise GeneratorError(f"'{a}' and '{b}' cannot be compared: one is a time, the other a number")


def _check_implied(card: DatasetCard) -> None:
    """Refuse orders that contradict each other, and those that leave a column of a unit no room in the unit's rows."""
    same = copies(card)
    found: dict[tuple[str, str], bool] = {}
    for constraint in card.spec.constraints:
        if constraint.relation not in {"==", "combinations"}:
            a, b = (same.get(name, name) for name in constraint.columns)
            pair = (a, b) if constraint.relation.startswith("<") else (b, a)
            found[pair] = found.get(pair, False) or constraint.relation in {"<", ">"}
    for middle in card.columns:
        for a, x in list(found):
            for y, b in list(found):
                if x == middle == y:
                    found[a, b] = found.get((a, b), False) or found[a, x] or found[y, b]
    for (a, b), is_strict in found.items():
        if a == b and is_strict:
            raise GeneratorError(f"the relations of '{a}' contradict each other: it would have to be less than itself")
    named = set(card.per_unit)
    squeezed = {a for a, b in found if a in named and b not in named} & {b for a, b in found if b in named and a not in named}
    if squeezed:
        raise GeneratorError(f"'{min(squeezed)}' is per_unit, but must lie between two columns that vary within a unit")
