"""Ready gates: `strict`, `standard`, `exploratory`, and the lines of the founding scripts as `seed`.

Responsible for the rules behind `preset:` and for writing them out into a policy, so that a policy's digest covers the lines
that were in force and a later edition of a preset cannot change an applied policy.

Invariants: rules of a policy's own `gate` take the place of all preset rules for the same metric, those that block and those that
warn; expanding twice changes nothing.
Where a line comes from is said in `docs/explanation/policies.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from policies.gate_rule import GateRule, Use
from policies.metric_catalogue import DEFAULT_LINES
from policies.schema import PresetName, ReleasePolicy

__all__ = ["PRESETS", "expand", "preset_rules"]

MIA = "privacy.membership_inference"
NEEDED = frozenset({f"{MIA}.auc", f"{MIA}.advantage"})
"""Metrics whose question arises for every table: when they are not applicable, something is wrong.

Copies are not among them: of a table of few columns hardly any row is one person's alone, and a copy is no copy then.
"""

_TIGHTER: Mapping[str, str] = {
    "privacy.copies.excess_share": "0.001",
    f"{MIA}.auc": "0.53",
    f"{MIA}.advantage": "0.15",
    "privacy.singling_out.univariate": "0.03",
    "privacy.singling_out.multivariate": "0.03",
    "privacy.linkability": "0.03",
    "privacy.attribute_inference.*": "0.02",
    "privacy.outlier_exposure": "0.03",
}
_WIDER: Mapping[str, str] = {
    "privacy.copies.excess_share": "0.02",
    f"{MIA}.auc": "0.6",
    f"{MIA}.tpr_at_fpr_1pct": "0.04",
    "privacy.singling_out.univariate": "0.1",
    "privacy.singling_out.multivariate": "0.1",
    "privacy.linkability": "0.1",
    "privacy.attribute_inference.*": "0.06",
    "privacy.outlier_exposure": "0.1",
}


def _rule(
    metric: str,
    *,
    at_most: str | None = None,
    at_least: str | None = None,
    p_min: str | None = None,
    use: Use | None = None,
    blocks: bool = True,
) -> GateRule:
    return GateRule.model_validate(
        {
            "metric": metric,
            "max": None if at_most is None else Decimal(at_most),
            "min": None if at_least is None else Decimal(at_least),
            "p_min": None if p_min is None else Decimal(p_min),
            "use": use,
            "severity": "block" if blocks else "warn",
            "if_not_applicable": "refuse" if metric in NEEDED else "pass",
        }
    )


def _from_catalogue(moved: Mapping[str, str]) -> tuple[GateRule, ...]:
    """The catalogue's shipped privacy lines, some moved; the tests at p < 0.001 are the same in every preset.

    Lines that only warn read the estimate alone: a wide interval is no reason to call a reviewer. Where the catalogue states a
    p-value to warn at, a second rule for the metric warns.
    """
    lines = tuple(
        _rule(
            line.metric,
            at_most=moved.get(line.metric, line.max) if line.max is not None else None,
            at_least=line.min,
            p_min=line.p_min,
            use=None if line.blocks else "value",
            blocks=line.blocks,
        )
        for line in DEFAULT_LINES
    )
    warnings = (_rule(line.metric, p_min=line.warn_p, blocks=False) for line in DEFAULT_LINES if line.warn_p is not None)
    return (*lines, *warnings)


_SHAPE = (
    _rule("utility.marginals.ks.worst", at_most="0.15", blocks=False),
    _rule("utility.marginals.tv.worst", at_most="0.2", blocks=False),
)

PRESETS: Mapping[PresetName, tuple[GateRule, ...]] = {
    "strict": (*_from_catalogue(_TIGHTER), *_SHAPE),
    "standard": (*_from_catalogue({}), *_SHAPE),
    "exploratory": (*_from_catalogue(_WIDER), *_SHAPE),
    "seed": (
        _rule(f"{MIA}.advantage", at_most="0.25", use="value"),
        _rule(f"{MIA}.auc", at_most="0.6", use="value"),
        _rule("privacy.dcr.p05_ratio", at_least="0.5", use="value"),
        _rule("privacy.copies.excess_share", at_most="0.001", p_min="0.001", use="value"),
    ),
}


def preset_rules(name: PresetName) -> tuple[GateRule, ...]:
    """The rules of a preset."""
    return PRESETS[name]


def expand(policy: ReleasePolicy) -> ReleasePolicy:
    """Write the rules of a policy's preset into its gate; a policy without preset is returned as it is."""
    preset = policy.spec.preset
    if preset is None:
        return policy
    own = {rule.metric for rule in policy.spec.gate}
    rules = (*(rule for rule in PRESETS[preset] if rule.metric not in own), *policy.spec.gate)
    spec = policy.spec.model_copy(update={"preset": None, "expanded_from": preset, "gate": rules})
    return policy.model_copy(update={"spec": spec})
