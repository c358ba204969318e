"""Train, holdout and synthetic in, report card out.

Responsible for the evaluator's front door. It knows tables, metrics and nothing of HTTP, tickets, databases or generators,
and runs where torch is not installed. Importing this package loads no numerical library; `evaluate` does, when called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evaluator.report_card import ReportCard, ReportCardInvalid

if TYPE_CHECKING:
    import pyarrow as pa

    from policies.card import DatasetCard
    from policies.types import PrivacySpent

__all__ = ["ReportCard", "ReportCardInvalid", "evaluate"]


def evaluate(
    *,
    train: pa.Table,
    holdout: pa.Table,
    synthetic: pa.Table,
    card: DatasetCard,
    seed: int,
    columns: Sequence[str] | None = None,
    spent: PrivacySpent | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ReportCard:
    """Measure privacy, utility and fairness of a synthetic table.

    Args:
        train: The rows that the generator was fitted on.
        holdout: Rows of the same population that it never saw.
        synthetic: The rows it made.
        card: The dataset card all three follow.
        seed: Where every random choice starts, 0 to 2^53 - 1; the same seed gives the same card.
        columns: Evaluate only these columns of the card (a release of some columns); all by default.
        spent: What the generator reports to have spent, for `privacy.dp.*`.
        progress: Called with the name of the family that starts and the share done, in [0, 1].

    Raises:
        evaluator.inputs.InputsInvalid: the tables do not fit the card or each other.
    """
    from evaluator.suite import run_suite

    return run_suite(
        train=train, holdout=holdout, synthetic=synthetic, card=card, seed=seed, columns=columns, spent=spent, progress=progress
    )
