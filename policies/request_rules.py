"""What may be asked for: who, why, how much, by which generator, at which privacy loss.

Responsible for every rule of `spec.request`, `spec.generation` and `spec.budget`.

Invariants: pure; ε and δ are compared as decimals; a differentially private generator without ε, or any other with one, is
refused; a limit that the policy does not set is not checked here and is not invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from policies.card import DatasetCard
from policies.metric_catalogue import LEAST_SYNTHETIC_ROWS
from policies.reasons import reason
from policies.schema import ReleasePolicy
from policies.types import GENERATORS, BudgetFacts, PrincipalFacts, Reason, RequestFacts

__all__ = [
    "advice", "budget_reasons", "columns_asked", "counted_epsilon", "generation_reasons", "owner_of", "request_reasons",
]  # fmt: skip


def columns_asked(request: RequestFacts, card: DatasetCard) -> frozenset[str]:
    """The columns that a release would show: those asked for, or all that are not identifiers."""
    return frozenset(card.learnt) if request.columns is None else frozenset(request.columns)


def owner_of(policy: ReleasePolicy) -> str:
    """Whom to ask about a policy."""
    owner = policy.metadata.owner
    return f"the owner of the policy {policy.name}" if owner is None else f"{owner}, who answers for the policy {policy.name}"


def request_reasons(
    request: RequestFacts, *, principal: PrincipalFacts, policy: ReleasePolicy, card: DatasetCard
) -> Iterator[Reason]:
    """Who asks, for what, in which form."""
    yield from _who(request, principal=principal, policy=policy)
    yield from _what(request, policy=policy)
    yield from _columns(request, card=card)


def _who(request: RequestFacts, *, principal: PrincipalFacts, policy: ReleasePolicy) -> Iterator[Reason]:
    rules = policy.spec.request
    yield reason(
        "principal-mismatch",
        "request",
        holds=request.principal == principal.name,
        observed=principal.name,
        required=request.principal,
        message="the request speaks for somebody else than who signed it",
        unlock="sign the request with your own key",
    )
    yield reason(
        "principal-disabled",
        "request.roles",
        holds=not principal.is_disabled,
        observed="disabled" if principal.is_disabled else "enabled",
        required="enabled",
        message=f"{principal.name} is disabled",
        unlock="ask the gateway's operator",
    )
    yield reason(
        "role-not-allowed",
        "request.roles",
        holds=not principal.roles.isdisjoint(rules.roles),
        observed=principal.roles,
        required=rules.roles,
        message=f"{principal.name} has none of the roles {', '.join(rules.roles)}",
        unlock="ask the gateway's operator for the role, or a colleague who has it",
    )


def _what(request: RequestFacts, *, policy: ReleasePolicy) -> Iterator[Reason]:
    rules = policy.spec.request
    yield reason(
        "purpose-not-allowed",
        "request.purposes",
        holds=request.purpose in rules.purposes,
        observed=request.purpose,
        required=rules.purposes,
        message=f"the purpose '{request.purpose}' is not allowed for {request.dataset}",
        unlock=f"state one of: {', '.join(rules.purposes)}; or ask {owner_of(policy)}",
    )
    yield reason(
        "rows-above-limit",
        "request.max_rows",
        holds=0 < request.rows <= rules.max_rows,
        observed=request.rows,
        required=rules.max_rows,
        message=f"{request.rows} rows were asked for, between 1 and {rules.max_rows} are allowed",
        unlock=f"ask for at most {rules.max_rows} rows",
    )
    least, judge = _least_rows(policy)
    yield reason(
        "rows-below-least",
        "gate",
        holds=not 0 < request.rows < least,
        observed=request.rows,
        required=least,
        message=f"{request.rows} rows were asked for; the gate asks for {judge}, which fewer than {least} rows cannot answer",
        unlock=f"ask for at least {least} rows",
    )
    yield reason(
        "format-not-allowed",
        "request.formats",
        holds=request.format in rules.formats,
        observed=request.format,
        required=rules.formats,
        message=f"the format {request.format} is not allowed",
        unlock=f"ask for {' or '.join(rules.formats)}",
    )


def _least_rows(policy: ReleasePolicy) -> tuple[int, str]:
    """The fewest rows that the gate can let out, and the metric that asks for them; (1, "") where none does."""
    blocking = [rule for rule in policy.spec.gate if rule.severity == "block"]
    asked = [(least, name) for name, least in LEAST_SYNTHETIC_ROWS.items() if any(rule.matches(name) for rule in blocking)]
    return max(asked, default=(1, ""))


def _columns(request: RequestFacts, *, card: DatasetCard) -> Iterator[Reason]:
    asked = columns_asked(request, card)
    unknown = asked - frozenset(card.columns)
    yield reason(
        "columns-unknown",
        "request",
        holds=bool(asked) and not unknown,
        observed=unknown or asked,
        required=list(card.learnt),
        message=f"{request.dataset} does not have the columns {', '.join(sorted(unknown)) or '(none were asked for)'}",
        unlock=f"name columns that stand in the dataset card: {', '.join(card.learnt)}",
    )
    identifiers = asked & frozenset(card.identifiers)
    yield reason(
        "columns-identify",
        "request",
        holds=not identifiers,
        observed=identifiers,
        required="no identifier",
        message=f"{', '.join(sorted(identifiers))} identifies people and is never released",
        unlock=f"leave {', '.join(sorted(identifiers))} out; rows carry a synthetic key",
    )


def generation_reasons(request: RequestFacts, *, policy: ReleasePolicy, card: DatasetCard) -> Iterator[Reason]:
    """By which generator, and at which privacy loss."""
    rules, info = policy.spec.generation, GENERATORS.get(request.generator)
    allowed = ", ".join(rules.generators)
    private = ", ".join(name for name in rules.generators if name in GENERATORS and GENERATORS[name].is_dp)
    yield reason(
        "generator-not-allowed",
        "generation.generators",
        holds=request.generator in rules.generators,
        observed=request.generator,
        required=rules.generators,
        message=f"the generator {request.generator} is not allowed",
        unlock=f"ask for one of: {allowed}",
    )
    if info is None:
        yield reason(
            "generator-unknown",
            "generation.generators",
            holds=False,
            observed=request.generator,
            required=sorted(GENERATORS),
            message=f"there is no generator {request.generator}",
            unlock=f"ask for one of: {allowed}",
        )
        return
    if not info.is_dp:
        yield reason(
            "non-dp-not-allowed",
            "generation.allow_non_dp",
            holds=rules.allow_non_dp,
            observed=request.generator,
            required="a differentially private generator",
            message=f"{info.name} gives no privacy guarantee",
            unlock=f"ask for one of: {private}" if private else f"ask {owner_of(policy)}",
        )
        yield reason(
            "epsilon-without-dp",
            "generation.epsilon",
            holds=request.epsilon is None and request.delta is None,
            observed=request.epsilon if request.epsilon is not None else request.delta,
            required=None,
            message=f"{info.name} gives no privacy guarantee, so it takes no epsilon and no delta",
            unlock="leave epsilon and delta out",
        )
        return
    yield from _loss_reasons(request, policy=policy, card=card)


def _loss_reasons(request: RequestFacts, *, policy: ReleasePolicy, card: DatasetCard) -> Iterator[Reason]:
    epsilon, delta, rules = request.epsilon, request.delta, policy.spec.generation
    if epsilon is None or delta is None or rules.epsilon is None:
        yield reason(
            "epsilon-missing",
            "generation.epsilon",
            holds=False,
            observed=epsilon,
            required=None if rules.epsilon is None else rules.epsilon.max,
            message="a differentially private generator needs epsilon and delta, and a policy that limits them",
            unlock="state epsilon (and delta) within the policy's limits"
            + ("" if rules.epsilon is None else f": epsilon at most {rules.epsilon.max}, delta at most {rules.delta.max}"),
        )
        return
    yield _positive_at_most("epsilon", epsilon, rules.epsilon.max)
    yield _positive_at_most("delta", delta, rules.delta.max)
    if card.spec.public_rows is not None:
        below = 1 / Decimal(card.spec.public_rows)
        yield reason(
            "delta-too-large-for-rows",
            "generation.delta",
            holds=delta.is_finite() and delta < below,
            observed=delta,
            required=below,
            message="delta must lie below 1/n: above, a whole record may be published under it",
            unlock=f"ask for delta below 1/{card.spec.public_rows}",
        )


def _positive_at_most(word: str, asked: Decimal, most: Decimal) -> Reason:
    return reason(
        f"{word}-above-limit",
        f"generation.{word}.max",
        holds=asked.is_finite() and 0 < asked <= most,
        observed=asked,
        required=most,
        message=f"{word} {asked} was asked for, above 0 and at most {most} is allowed",
        unlock=f"ask for {word} at most {most}",
    )


def advice(request: RequestFacts, policy: ReleasePolicy) -> tuple[str, ...]:
    """What is allowed and seldom wise: words for the requester, no rule."""
    line, asked = policy.spec.generation.epsilon, request.epsilon
    if line is None or line.advised_min is None or asked is None or counted_epsilon(asked) >= line.advised_min:
        return ()
    return (f"epsilon {asked} is allowed; below {line.advised_min} such tables are seldom useful",)


def budget_reasons(request: RequestFacts, *, budget: BudgetFacts, now: datetime) -> Iterator[Reason]:
    """Whether the ledger affords it, as the ledger's own accountant says."""
    remaining = budget.remaining_epsilon
    left = "cannot be asked for a fit that cannot be planned" if remaining is None else f"has epsilon {remaining} left"
    yield reason(
        "budget-exhausted",
        "budget",
        holds=budget.affords,
        observed=request.epsilon,
        required=remaining,
        message=f"the privacy budget of {request.dataset} {left}",
        unlock=_less(remaining),
    )
    until, most = budget.window_closed_until, budget.window_epsilon
    fits = most is None or counted_epsilon(request.epsilon) <= most
    opens = "" if until is None else f"{until:%Y-%m-%d %H:%M} UTC"
    later = f"try again after {opens}, or ask for less epsilon; a window slows spending and gives nothing back"
    yield reason(
        "budget-window-closed",
        "budget.windows",
        holds=until is None or until <= now,
        observed=until,
        required=now,
        message=f"the spending window of {request.dataset} is closed: its releases follow each other too fast",
        unlock=later if fits else f"ask for epsilon of at most {most}: a window of this dataset never lets more through at once",
    )


def _less(remaining: Decimal | None) -> str:
    steward = "the steward: raising the limit takes two people and a reason; what was spent never comes back"
    if remaining is None:
        return "correct the generator first"
    if remaining <= 0:
        return f"ask {steward}"
    return f"ask for epsilon of at most {remaining}, or ask {steward}"


def counted_epsilon(epsilon: Decimal | None) -> Decimal:
    """What a request adds to a sum: nothing without ε, and more than any limit when it is no number."""
    if epsilon is None:
        return Decimal(0)
    return epsilon if epsilon.is_finite() else Decimal("Infinity")
