"""Which question of which framework a metric serves, and what remains for a person to judge.

Responsible for `frameworks`. Invariants: no sentence says that a table complies; no metric can establish that.
"""

from __future__ import annotations

from typing import Final

from evaluator.render.svg import clean, number
from evaluator.report_card import ReportCard

__all__ = ["INDICATORS", "frameworks"]

INDICATORS: Final[tuple[tuple[str, str, tuple[str, ...], str], ...]] = (
    (
        "WP216 (Article 29 Working Party, Opinion 05/2014)",
        "Singling out",
        ("privacy.singling_out.univariate", "privacy.singling_out.multivariate", "privacy.copies.excess_share"),
        "Whether the attributes an attacker can know were considered, and the dataset's other releases.",
    ),
    (
        "WP216 (Article 29 Working Party, Opinion 05/2014)",
        "Linkability",
        ("privacy.linkability",),
        "Which other tables about the same people exist outside.",
    ),
    (
        "WP216 (Article 29 Working Party, Opinion 05/2014)",
        "Inference",
        ("privacy.outlier_exposure", "privacy.membership_inference.auc"),
        "Whether learning about a group harms its members, whoever was in train.",
    ),
    (
        "45 CFR 164.514(b)(1), expert determination",
        "Very small risk of identification",
        ("privacy.k_map.max_risk", "privacy.membership_inference.tpr_at_fpr_1pct", "privacy.rare_values.excess_share"),
        "The determination itself: an expert's method, the recipient, and who else could act with them.",
    ),
    (
        "NIST SP 800-226",
        "Differential privacy guarantee",
        ("privacy.dp.epsilon", "privacy.dp.delta", "privacy.dp.audit_lower_bound"),
        "Whether the unit of privacy, the trust model and the composition with other releases fit the case.",
    ),
)


def frameworks(card: ReportCard) -> str:
    """A table of indicators with what they cannot answer."""
    rows = []
    for framework, question, metrics, remains in INDICATORS:
        seen = "".join(f"<small><code>{clean(name, 80)}</code> {_value(card, name)}</small>" for name in metrics)
        rows.append(f"<tr><td>{clean(framework, 80)}<td>{clean(question)}<td class=one>{seen}<td>{clean(remains, 200)}</tr>")
    head = "<tr><th>framework<th>question<th>indicators on this card<th>what remains for a person to judge</tr>"
    return (
        "<h2>Indicators for legal frameworks</h2><p class=soft>No metric establishes compliance. These serve as evidence for "
        f"a person who judges.</p><div class=panel><table>{head}{''.join(rows)}</table></div>"
    )


def _value(card: ReportCard, name: str) -> str:
    result = card.metrics.get(name)
    if result is None:
        return "not measured"
    return number(result.value) if result.value is not None else clean(result.status.replace("_", " "))
