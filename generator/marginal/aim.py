"""The generator `dp-aim`: adaptive, iterative choice of marginals (the high-effort tier).

Responsible for AIM's loop over our own junction tree: in each round the group that the model gets worst is chosen and
measured, the model is refitted, and the noise is halved in variance whenever a measurement told nothing new.

Invariants:
    - Each round is charged as one exponential mechanism and one discrete Gaussian; the last round takes what is left.
    - Groups that would make a clique larger than allowed are no candidates.
Source: McKenna, Mullins, Sheldon and Miklau 2022, algorithm 2. Differences: the workload is all pairs and, with a declared
target, all triples with it that a clique holds; one-way counts use cells, groups use bins; inference is proportional
fitting of shrunken marginals instead of mirror descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from generator.base import Progress
from generator.hyperparameters import AimParameters
from generator.marginal.family import Marginal
from generator.marginal.measure import Group
from generator.marginal.model import Model
from generator.marginal.pairs import all_pairs
from generator.marginal.saving import load
from generator.marginal.structure import Floats, Learner

__all__ = ["Aim", "AimLearner", "create", "load"]


@dataclass
class AimLearner(Learner):
    """AIM's loop."""

    budget_rounds: int = 40

    def learn(self, progress: Progress) -> Model:
        """Choose, measure and refit until the budget is used."""
        self.ones = []
        self._left = self.plan.counts
        choices = self.plan.choice
        self._measure_evenly(list(self.masks), self._left / self.budget_rounds)
        model = self._refit()
        step = self._left / self.budget_rounds
        choice = choices / self.budget_rounds
        while self._left > 0:
            progress(1 - float(self._left / self.plan.counts) * 0.9, "choice of what is worst modelled")
            if step * 2 >= self._left:
                step, choice = self._left, choices
            step, choice = min(step, self._left), min(choice, choices)
            candidates = self._candidates(model)
            if not candidates or choice <= 0:
                break
            sigma = float(1 / (2 * step)) ** 0.5 * self.lens.rows_per_unit
            group = self._pick(candidates, sigma, choice)
            choices -= choice
            self._measure_evenly([group], step)
            before, model = model, self._refit()
            moved = float(np.abs(model.group(group) - candidates[group] / self.rows).sum()) * self.rows
            if before is not model and moved <= 0.8 * sigma * prod(self.sizes[v] for v in group):
                step, choice = step * 2, choice * 2
        return self._spend_rest(model)

    def _pick(self, candidates: dict[Group, Floats], sigma: float, rho: Fraction) -> Group:
        penalty = {group: 0.8 * sigma * table.size for group, table in candidates.items()}
        weight = {group: self.plan.emphasis if self.target in group else 1 for group in candidates}
        return self.lens.choose(candidates, penalty=penalty, weight=weight, rho=rho, name="choice of a group")

    def _candidates(self, model: Model) -> dict[Group, Floats]:
        tree = self._tree()
        out: dict[Group, Floats] = {
            pair: self.rows * table
            for pair, table in all_pairs(model, len(self.sizes)).items()
            if pair not in self.free and tree.cost(frozenset(pair)) <= self.plan.cells
        }
        if self.target is not None:
            for a, b in list(out):
                triple = tuple(sorted({a, b, self.target}))
                if len(triple) == 3 and tree.holds(frozenset(triple)):  # noqa: PLR2004 - a pair and the target
                    out[triple] = self.rows * model.group(triple)
        return out

    def _spend_rest(self, model: Model) -> Model:
        if self._left <= self.plan.counts / 1000:
            return model
        groups = [item.group for item in self.measured] or [(v,) for v in range(len(self.sizes))]
        self._measure_evenly(groups, self._left)
        return self._refit()

    def _measure_evenly(self, groups: list[Group], rho: Fraction) -> None:
        if groups:
            self._add(groups, [rho / len(groups)] * len(groups))

    def _refit(self) -> Model:
        return self._fit()


class Aim(Marginal):
    """Unfitted `dp-aim`."""

    name = "dp-aim"
    values: AimParameters

    def learner(self, **parts: object) -> Learner:
        """AIM's loop."""
        return AimLearner(**parts, budget_rounds=self.values.budget_rounds)  # type: ignore[arg-type]


def create(name: str, values: AimParameters) -> Aim:  # noqa: ARG001 - the shape of every family
    """Make the unfitted generator."""
    return Aim(values)
