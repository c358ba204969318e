"""The plan of an evaluation: how many records each privacy family looks at, and why so many.

Responsible for one sentence a family. States nothing that a family does not do: the numbers come from where it takes them.
"""

from __future__ import annotations

from evaluator.inputs import Inputs
from evaluator.privacy.family import PrivacyOptions
from evaluator.privacy.neighbours import MOST_REFERENCE, pool_of
from evaluator.privacy.projections import parts
from evaluator.privacy.records import SAMPLE
from evaluator.privacy.singling_out import ATTEMPTS, MOST_SYNTHETIC
from evaluator.privacy.split import MOST

__all__ = ["plan_of"]


def plan_of(inputs: Inputs, options: PrivacyOptions) -> dict[str, str]:
    """Family name → what it looks at in this evaluation. Draws the pool of people, which the attacks share."""
    pool = pool_of(inputs, options)
    people = pool.units // 2
    synthetic = min(inputs.synthetic.rows, options.max_references)
    sampled = f"as many as {2 * options.people:,} rows hold"
    if people == min(inputs.train.n_units, inputs.holdout.n_units):
        sampled = "all there are on the smaller side"
    elif people == options.people:
        sampled = f"enough for ±{100 * options.half_width:g} points at 1 % FPR"
    real = inputs.train.rows + inputs.holdout.rows
    shared = f"the same {people:,} people a side"
    whole = f"all {real:,} real and {inputs.synthetic.rows:,} synthetic rows"
    return {
        "privacy.copies": f"{whole}, {1 + sum(1 for _ in parts(inputs))} sets of columns",
        "privacy.rare_values": f"{whole}, {len(inputs.columns)} columns",
        "privacy.pii": f"every distinct text of {inputs.synthetic.rows:,} synthetic rows",
        "privacy.membership_inference": f"{people:,} people a side ({sampled}) against {synthetic:,} synthetic rows and "
        f"{min(len(pool.unit), MOST_REFERENCE):,} real ones",
        "privacy.split": f"{shared}, of whom {min(people, MOST):,} a side for the blind attack",
        "privacy.outlier_exposure": f"the rarest of {shared}",
        "privacy.attribute_inference": shared,
        "privacy.singling_out": f"{min(ATTEMPTS, 2 * min(inputs.synthetic.rows, MOST_SYNTHETIC)):,} predicates on "
        f"{min(inputs.synthetic.rows, MOST_SYNTHETIC):,} synthetic rows and {shared}",
        "privacy.linkability": shared,
        "privacy.dcr": f"{min(SAMPLE, inputs.synthetic.rows):,} synthetic rows against {shared}",
        "privacy.k": whole,
        "privacy.dp": "what the generator accounts for",
    }
