"""Which groups of variables to measure: always what the model still gets most wrong.

Responsible for the order of private choices and measurements, and for the model that comes out of them.

Invariants:
    - Every choice is an exponential mechanism and every measurement a discrete Gaussian, charged beforehand.
    - Noise and number of rounds depend on public sizes and on the budget alone.
Source: the idea of measuring what is worst modelled is AIM's (McKenna et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from generator.base import Progress
from generator.marginal.junction import JunctionTree
from generator.marginal.measure import Group, Lens, Measured
from generator.marginal.model import Model
from generator.marginal.pairs import all_pairs
from generator.marginal.reconcile import pooled, pooled_ones, rake, reconciled

__all__ = ["Learner", "Plan"]

Floats = NDArray[np.float64]
NOTHING: Group = ()
PROFILE = Fraction(2, 5)
KINDS = 2
SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a budget is used; all of it is public.

    Attributes:
        choice: ρ for all choices.
        counts: ρ for all measurements of groups.
        rounds: How many times the model is refitted and asked what it gets wrong.
        picks: How many groups are chosen in each round.
        cells: Most cells of a clique.
        caution: How much of the expected noise error a candidate must beat.
        reluctance: How far above the noise of a choice a candidate must score.
        emphasis: How many times the error of a pair with the target counts.
        asks_triples: Whether two variables that were measured with the target are candidates together with it.
        sweeps: Passes of proportional fitting.
    """

    choice: Fraction
    counts: Fraction
    rounds: int
    picks: int
    cells: int
    caution: float
    reluctance: float = 8.0
    emphasis: int = 1
    asks_triples: bool = False
    sweeps: int = 12


@dataclass
class Learner:
    """Learns a model of binned variables through a lens.

    Attributes:
        lens: Where choices and measurements are made.
        sizes: Bins of each variable.
        known: Unbiased one-way counts and their noise variances.
        rows: Estimated number of rows.
        target: A variable that matters most, or None.
        plan: How the budget is used.
        masks: Possible (1) and impossible (0) pairs of bins; their groups are always measured.
        free: Marginals that are known without looking.
        volume: Hour and volume of a table of time slots: their profile is measured before anything else.
    """

    lens: Lens
    sizes: Sequence[int]
    known: Sequence[tuple[Floats, Floats]]
    rows: float
    target: int | None
    plan: Plan
    masks: Mapping[Group, Floats] = field(default_factory=dict)
    free: Mapping[Group, Floats] = field(default_factory=dict)
    volume: tuple[int, int] | None = None
    measured: list[Measured] = field(default_factory=list)

    def learn(self, progress: Progress) -> Model:
        """Choose, measure and fit."""
        count = len(self.sizes)
        self.ones = pooled_ones([], self.known, rows=self.rows)
        self._unit = self._noise_unit()
        self._choices = max(1, self.plan.rounds * self.plan.picks) + (0 if self.volume is None else KINDS)
        self._left, self._made = self.plan.counts, 0
        self._measure(list(self.masks))
        model = self._fit()
        if self.volume is not None:
            model = self._profile(model, *self.volume)
        for turn in range(self.plan.rounds):
            progress(0.5 + 0.4 * turn / self.plan.rounds, "choice of what is worst modelled")
            chosen = self._worst(model)
            if not chosen or self._left < self.plan.counts / 1000:
                break
            self._measure(chosen, is_last=turn == self.plan.rounds - 1)
            model = self._fit()
        # a choice that was not made costs nothing: what was kept for it goes to counts
        self._left += self.plan.choice * Fraction(self._choices - self._made, self._choices)
        if self._left > self.plan.counts / 1000:
            again = [item.group for item in self.measured] or [(v,) for v in range(count)]
            self._measure(again, is_last=True)
            model = self._fit()
        return model

    def _profile(self, model: Model, hour: int, volume: int) -> Model:
        """Measure how the volume goes by hour, and in how many ways that profile differs by kinds of days.

        Candidates are hour, a short variable and volume together; predicted is what they would be if the kind of day moved
        the volume alike at every hour.
        """
        pair = _group(hour, volume)
        shares = [self.plan.counts * PROFILE / (1 + KINDS)] * (1 + KINDS)
        self._add([pair], shares[:1])
        model = self._fit()
        for share in shares[1:]:
            known = {item.group for item in self.measured}
            pairs = all_pairs(model, len(self.sizes))
            predicted: dict[Group, Floats] = {}
            for kind, size in enumerate(self.sizes):
                group = _group(hour, kind, volume)
                if kind in pair or size > SHORT or group in known:
                    continue
                by_hour, by_kind = _pair(pairs, volume, hour), _pair(pairs, volume, kind)
                joint = np.einsum("vh,vk,v->vhk", by_hour, by_kind, 1 / np.maximum(by_hour.sum(axis=1), 1e-300))
                predicted[group] = self.rows * joint.transpose(np.argsort([volume, hour, kind]))
            if not predicted:
                break
            self._add([self._choose(predicted, "choice of a kind of day", with_nothing=False)], [share])
            model = self._fit()
        return model

    def _noise_unit(self) -> float:
        """ρ of a group with one cell, such that a typical set of groups uses the whole budget."""
        nodes = range(len(self.sizes))
        typical = sorted(self._weight((a, b)) for a in nodes for b in nodes[a + 1 :]) or [1.0]
        expected = max(1, self.plan.rounds * self.plan.picks + len(self.masks))
        return float(self.plan.counts) / (expected * typical[int(0.6 * (len(typical) - 1))])

    def _weight(self, group: Group) -> float:
        return math.pow(prod(self.sizes[v] for v in group), 2 / 3)

    def _sigma(self, group: Group) -> float:
        return float((1 / (2 * self._unit * self._weight(group))) ** 0.5) * self.lens.rows_per_unit

    def _penalty(self, group: Group) -> float:
        return self.plan.caution * 0.8 * self._sigma(group) * prod(self.sizes[v] for v in group)

    def _worst(self, model: Model) -> list[Group]:
        done = {item.group for item in self.measured} | set(self.free)
        known = {pair for group in done for pair in _pairs(group)}
        tree = self._tree()
        pairs = all_pairs(model, len(self.sizes))
        predicted: dict[Group, Floats] = {pair: self.rows * table for pair, table in pairs.items() if pair not in known}
        if self.plan.asks_triples:
            predicted |= self._triples(model, tree, pairs, done)
        chosen: list[Group] = []
        for _ in range(self.plan.picks):
            fitting = {pair: table for pair, table in predicted.items() if tree.cost(frozenset(pair)) <= self.plan.cells}
            pick = self._choose(fitting, "choice of a pair") if fitting else NOTHING
            if pick == NOTHING:
                break
            chosen.append(pick)
            tree.join(frozenset(pick))
            del predicted[pick]
        return chosen

    def _triples(
        self, model: Model, tree: JunctionTree, pairs: Mapping[tuple[int, int], Floats], done: set[Group]
    ) -> dict[Group, Floats]:
        """Predicted counts of two variables with the target, both of which were measured with it: what pairs cannot say.

        Predicted is what the model has where one clique holds all three, else the most even table with the model's pairs.
        """
        target = self.target
        if target is None:
            return {}
        beside = sorted({v for group in done if target in group for v in group} - {target})
        out: dict[Group, Floats] = {}
        for a, b in combinations(beside, 2):
            triple = _group(a, b, target)
            if any(set(triple) <= set(group) for group in done) or prod(self.sizes[v] for v in triple) > self.plan.cells:
                continue
            if tree.holds(frozenset(triple)):
                out[triple] = self.rows * model.group(triple)
            else:
                parts = [(_group(*pair), _pair(pairs, *_group(*pair))) for pair in combinations(triple, 2)]
                out[triple] = self.rows * rake(np.ones([self.sizes[v] for v in triple]), triple, parts, rounds=4)
        return out

    def _choose(self, candidates: dict[Group, Floats], name: str, *, with_nothing: bool = True) -> Group:
        penalty = {group: self._penalty(group) for group in candidates}
        nothing = {NOTHING: np.zeros(0)} if with_nothing else {}
        weight = {group: self.plan.emphasis if self.target in group else 1 for group in candidates}
        self._made += 1
        margin = self.plan.reluctance * (8 * float(self.plan.choice / self._choices)) ** -0.5 * self.lens.rows_per_unit
        return self.lens.choose(
            {**candidates, **nothing},
            penalty={**penalty, NOTHING: -margin},
            weight=weight,
            rho=self.plan.choice / self._choices,
            name=name,
        )

    def _measure(self, groups: Sequence[Group], *, is_last: bool = False) -> None:
        if not groups or self._left <= 0:
            return
        wanted = [Fraction(self._unit * self._weight(group)).limit_denominator(10**12) for group in groups]
        most = self._left / max(sum(wanted), Fraction(1, 10**15))
        scale = most if is_last else min(Fraction(1), most)
        rho = [part * scale for part in wanted]
        self._add(groups, rho)

    def _add(self, groups: Sequence[Group], rho: Sequence[Fraction]) -> None:
        self.measured = pooled([*self.measured, *self.lens.measure(groups, rho=rho, name="counts of a group")])
        self._left -= sum(rho)

    def _tree(self) -> JunctionTree:
        tree = JunctionTree(self.sizes)
        for group in (*self.masks, *self.free):
            tree.join(frozenset(group))
        for item in self.measured:
            tree.join(frozenset(item.group))
        return tree

    def _fit(self) -> Model:
        self.ones = pooled_ones(self.measured, self.known, rows=self.rows)
        model = Model(self._tree(), self.ones, self.masks, self.target)
        free = [
            (g, rake(t, g, [((v,), self.ones[v]) for v in g], rounds=8)) for g, t in self.free.items()
        ]  # fmt: skip
        model.fit([*reconciled(self.measured, self.ones, rows=self.rows), *free], sweeps=self.plan.sweeps)
        return model


def _group(*variables: int) -> Group:
    return tuple(sorted(variables))


def _pair(pairs: Mapping[tuple[int, int], Floats], a: int, b: int) -> Floats:
    """The table of a pair, with the first variable in rows."""
    return pairs[a, b] if a < b else pairs[b, a].T


def _pairs(group: Group) -> list[Group]:
    return [(a, b) for i, a in enumerate(group) for b in group[i + 1 :]]
