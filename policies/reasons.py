"""How rules say what they found: one small builder, so that every rule reads as observed, required, sentence, way out.

Invariants: what a reason holds is JSON-safe; a rule that holds has no `unlock`; the code names the rule's question and does
not depend on the answer's wording.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from policies.canonical import decimal_text
from policies.quantities import duration_text
from policies.types import Reason

__all__ = ["json_safe", "reason"]


def reason(code: str, rule: str, *, holds: bool, observed: Any, required: Any, message: str, unlock: str) -> Reason:
    """A reason.

    Args:
        code: Stable slug of the violation that this rule can find.
        rule: Path of the rule in the policy, as in `ticket.approval_max_age`.
        holds: Whether the rule is satisfied.
        observed: What was seen.
        required: What the rule asks for.
        message: A sentence for the requester, said when the rule does not hold.
        unlock: What would change the answer.
    """
    return Reason(
        code=code,
        rule=rule,
        observed=json_safe(observed),
        required=json_safe(required),
        message="satisfied" if holds else message,
        unlock=None if holds else unlock,
        holds=holds,
    )


def json_safe(value: Any) -> Any:
    """Decimals as exact text, times as ISO 8601, durations as `30d`, sets as sorted lists."""
    if isinstance(value, Decimal):
        return decimal_text(value) if value.is_finite() else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, set | frozenset):
        return sorted(json_safe(item) for item in value)
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value
