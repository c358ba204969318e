"""The model card of a release: what was made, how, what it guarantees and what it does not, in Markdown.

Invariants:
    - It says only what the requester may see at the release's disclosure level; figures come from the ledger and the card.
    - It never claims compliance with a law; it names what remains for a person to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.card import DatasetCard
from policies.types import GENERATORS, PrivacySpent

__all__ = ["model_card"]


def model_card(
    *,
    release_id: str,
    card: DatasetCard,
    request: Mapping[str, Any],
    spent: PrivacySpent,
    verdict: str,
    policy: str,
    generator: str,
) -> str:
    """Write the card.

    Args:
        release_id: The release.
        card: The dataset card.
        request: The request as stored.
        spent: What the fit cost.
        verdict: One word for the requester: passed or warned.
        policy: Name and version of the policy in force.
        generator: Name and version of the generator.
    """
    parts = [
        f"# Synthetic data of {card.name}",
        f"Release `{release_id}` · {int(request['rows']):,} rows as {request['format']} · purpose: {request['purpose']}",
        "## How it was made",
        f"Generator `{generator}`: {GENERATORS[str(request['generator'])].summary}.",
        _privacy(spent),
        "## What was checked",
        _checked(policy, verdict),
        "## What it is for, and what it is not",
        _limits(spent),
        "## Columns",
        _columns(card),
    ]
    return "\n\n".join(parts) + "\n"


def _privacy(spent: PrivacySpent) -> str:
    if not spent.is_dp:
        return (
            "**No differential privacy.** This generator gives no guarantee about any person; it stands in the ledger as a "
            "flagged entry, and only the gate's measurements speak for it."
        )
    lines = [
        f"Differentially private with ε = {spent.epsilon}, δ = {spent.delta} for one `{spent.unit}`",
        f"({spent.neighbours} neighbours), accounted by {spent.accountant}; noise from {spent.noise_source}.",
        "",
        "| mechanism | looks | share of the loss |",
        "|---|---|---|",
    ]
    for name in dict.fromkeys(mechanism.name for mechanism in spent.mechanisms):
        shares = [mechanism.share for mechanism in spent.mechanisms if mechanism.name == name]
        lines.append(f"| {name} | {len(shares)} | {sum(shares):.1%} |")
    return "\n".join(lines)


def _checked(policy: str, verdict: str) -> str:
    return (
        f"The gate of policy {policy} {verdict} this table. The report card beside this file shows the metrics at the level "
        "that the policy discloses."
    )


def _limits(spent: PrivacySpent) -> str:
    scope = (
        "The guarantee covers the generator's output on the train side of the split (`dp.scope: mechanism-only`). The gate's "
        "verdict and the metrics read the confidential table outside of it. People in the holdout have no guarantee from the "
        "report."
        if spent.is_dp
        else "Nothing but measurements protects the people in the train table."
    )
    return (
        f"{scope}\n\nUse it for the stated purpose. Do not link it with other data about the same people, and do not take "
        "decisions about a person from it. Whether a law is satisfied is for a person to judge."
    )


def _columns(card: DatasetCard) -> str:
    lines = ["| column | type | role |", "|---|---|---|"]
    for name, column in card.columns.items():
        note = " (synthetic key)" if column.role == "identifier" else ""
        safe = name.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {safe} | {column.type} | {column.role}{note} |")
    return "\n".join(lines)
