"""What earlier releases of the same dataset leave for the next one.

Responsible for every rule of `spec.differencing`: releases and recipients of a dataset, and what one principal would hold when
all releases to that principal are put side by side: their number, their ε, the union of their columns. Principals who pool what
they hold are met by the ledger, which counts by dataset and not by person.

Invariants: pure; the release that is asked for counts already; a limit that the policy does not set is not invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from policies.card import DatasetCard
from policies.reasons import reason
from policies.request_rules import columns_asked, counted_epsilon, owner_of
from policies.schema import ReleasePolicy
from policies.types import HistoryFacts, Reason, RequestFacts

__all__ = ["differencing_reasons"]


def differencing_reasons(
    request: RequestFacts, *, policy: ReleasePolicy, card: DatasetCard, history: HistoryFacts
) -> Iterator[Reason]:
    """What earlier releases of the same dataset allow."""
    rules = policy.spec.differencing
    recipients = len(history.recipients | {request.principal})
    union = history.columns_to_principal | columns_asked(request, card)
    total = history.epsilon_to_principal + counted_epsilon(request.epsilon)
    limits: tuple[tuple[str, str, int | Decimal | None, int | Decimal, int | Decimal, str], ...] = (
        ("releases", "max_releases", rules.max_releases, history.releases_of_dataset + 1, 0, "releases of it"),
        ("recipients", "max_recipients", rules.max_recipients, recipients, 0, "people who hold a release of it"),
        (
            "recipient-releases",
            "max_releases_per_recipient",
            rules.max_releases_per_recipient,
            history.releases_to_principal + 1,
            0,
            "releases to you",
        ),
        (
            "recipient-epsilon",
            "max_epsilon_per_recipient",
            rules.max_epsilon_per_recipient,
            total,
            history.epsilon_to_principal,
            "epsilon in your releases",
        ),
        (
            "recipient-columns",
            "max_columns_per_recipient",
            rules.max_columns_per_recipient,
            len(union),
            len(history.columns_to_principal),
            "columns in your releases",
        ),
    )
    for word, name, most, would_be, held, what in limits:
        if most is not None:
            yield reason(
                f"{word}-above-limit",
                f"differencing.{name}",
                holds=would_be <= most,
                observed=would_be,
                required=most,
                message=f"with this release there would be {would_be} {what}, at most {most} are allowed",
                unlock=_within(word, most=most, held=held, owner=owner_of(policy)),
            )
    for together in rules.never_together:
        left_out = [name for name in together if name not in history.columns_to_principal] or list(together)
        yield reason(
            "columns-never-together",
            "differencing.never_together",
            holds=not union.issuperset(together),
            observed=union & frozenset(together),
            required=f"not all of {', '.join(together)}",
            message=f"with this release you would hold all of {', '.join(together)}, which are kept apart",
            unlock=f"name the columns that you need, without {' or without '.join(left_out)}",
        )


def _within(word: str, *, most: int | Decimal, held: int | Decimal, owner: str) -> str:
    """What would keep a sum over releases within its line, where less of something would."""
    left = most - held
    if word == "recipient-epsilon" and left > 0:
        return f"ask for epsilon of at most {left}: your earlier releases count {held}; or ask {owner}"
    if word == "recipient-columns" and most > 0:
        return f"ask for columns that you hold already, or for at most {max(left, 0)} others; or ask {owner}"
    return f"ask {owner}"
