"""What the audit of networks does not see: noise of the wrong size, rows read outside of counted steps, batches that look at rows.

Each threshold fails an honest fit with probability at most 1e-8 a case.
"""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import binom, chi2

from generator.gan.network import GanNetwork
from generator.pate import teachers
from generator.sgd import engine
from generator.sgd.engine import Batches, PrivateSteps

ALARM = 1e-8
ROWS = 400
NETWORKS = ("dp-ar", "dp-tvae", "dp-ctgan")
SMALL = {"steps": 4, "sampling_rate": 0.2, "device": "cpu", "clip": 0.5}
NARROW = {"dp-ctgan": {"generator_width": 16, "discriminator_width": 64}}
VOTES = {"teachers": 20, "rounds": 2, "root_queries": 16, "student_steps": 1, "device": "cpu"}


@pytest.fixture
def fit_small(card_of, fit):
    """Fits a table with one row of `atlantis`, its first."""
    rng = np.random.default_rng(4)
    towns = np.array(["oslo", "rome", "kiel"], "<U8")[rng.integers(0, 3, ROWS)]
    towns[0] = "atlantis"
    table = pa.table({"town": towns.tolist(), "wage": rng.uniform(0, 200, ROWS)})
    card = card_of(
        {
            "town": {"type": "category", "values": ["oslo", "rome", "kiel", "atlantis"], "missing": False},
            "wage": {"type": "number", "bounds": [0, 200], "missing": False},
        }
    )

    def run(name, **more):
        values = VOTES if name == "pate-gan" else {**SMALL, **NARROW.get(name, {}), **more}
        return fit(table, card, name=name, epsilon="3", delta="1e-6", **values)

    return run


def is_of_variance(draws, variance):
    """Two-sided χ² test of the sum of squares."""
    low, high = chi2.ppf([ALARM / 2, 1 - ALARM / 2], draws.size)
    return low < (draws**2).sum() / variance < high


@pytest.fixture
def record_gaussian(monkeypatch):
    """Keeps the noise that steps really add: what is asked for, times a factor."""

    def start(factor):
        kept, honest = [], engine.gaussian

        def noted(size, *, sigma):
            kept.append(honest(size, sigma=sigma * factor))
            return kept[-1]

        monkeypatch.setattr(engine, "gaussian", noted)
        return kept

    return start


@pytest.mark.parametrize(("factor", "is_honest"), [(1.0, True), (0.5, False), (0.0, False)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_noise_of_a_fit_is_what_its_record_states(name, factor, is_honest, fit_small, record_gaussian):
    noise = record_gaussian(factor)
    fitted = fit_small(name)
    facts = next(m.parameters for m in fitted.spent.mechanisms if m.name == "DP-SGD")
    assert len(noise) >= facts["steps"] == SMALL["steps"]
    assert is_of_variance(np.concatenate(noise), (facts["noise_multiplier"] * facts["clip"]) ** 2) == is_honest


@pytest.mark.parametrize(("divisor", "is_honest"), [(1, True), (2, False)])
def test_the_noise_of_votes_is_what_their_record_states(divisor, is_honest, fit_small, monkeypatch):
    kept, honest = [], teachers.discrete_gaussian

    def noted(variance, size):
        kept.append(honest(variance, size) // divisor)
        return kept[-1]

    monkeypatch.setattr(teachers, "discrete_gaussian", noted)
    fitted = fit_small("pate-gan")
    stated = [m.parameters["variance"] for m in fitted.spent.mechanisms if m.name == "votes of teachers"]
    assert len(stated) == len(kept) == VOTES["rounds"]
    scaled = np.concatenate([noise / float(Fraction(v)) ** 0.5 for noise, v in zip(kept, stated, strict=True)])
    assert is_of_variance(scaled, 1.0) == is_honest


class Watched(torch.Tensor):
    """Coded rows that tell who touches them while no counted step is under way."""

    is_in_step = False
    unpaid: list[str]

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", str(func))
        if not Watched.is_in_step and name not in {"__get__", "device", "shape"}:
            Watched.unpaid.append(name)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


@pytest.fixture
def trace(monkeypatch):
    """Reads of coded rows outside of steps, and how many batches were drawn inside."""
    Watched.unpaid, drawn = [], []
    of, step, sample = Batches.of.__func__, PrivateSteps.step, Batches.sample

    def watched_of(cls, rows, units):
        found = of(cls, rows, units)
        return cls(rows.as_subclass(Watched), found.starts, found.order)

    def watched_step(steps, losses, more=None):
        Watched.is_in_step = True
        try:
            step(steps, losses, more)
        finally:
            Watched.is_in_step = False

    def counted(batches, rate):
        drawn.append(rate)
        return sample(batches, rate)

    monkeypatch.setattr(Batches, "of", classmethod(watched_of))
    monkeypatch.setattr(PrivateSteps, "step", watched_step)
    monkeypatch.setattr(Batches, "sample", counted)
    return drawn


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_read_by_counted_steps_alone(name, trace, fit_small):
    fitted = fit_small(name)
    assert Watched.unpaid == []
    assert len(trace) == next(m.parameters["steps"] for m in fitted.spent.mechanisms if m.name == "DP-SGD")


def test_an_unpaid_conditional_sampler_is_caught_by_the_trace(trace, fit_small, monkeypatch):
    """As published: conditions are drawn by the log-frequencies of the raw rows."""
    honest = GanNetwork.train_with

    def conditional(network, steps, tell):
        network.frequencies = (1 + torch.bincount(steps.batches.rows[:, 0])).log()
        honest(network, steps, tell)

    monkeypatch.setattr(GanNetwork, "train_with", conditional)
    fit_small("dp-ctgan")
    assert "bincount" in Watched.unpaid or "__getitem__" in Watched.unpaid


def times_in_batches(fit_small, monkeypatch, steps):
    """In how many batches the one row of `atlantis` takes part."""
    chosen, poisson = [], engine.poisson_sample

    def seen(units, *, rate):
        found = poisson(units, rate=rate)
        chosen.append(bool((found == 0).any()))
        return found

    monkeypatch.setattr(engine, "poisson_sample", seen)
    fit_small("dp-ar", steps=steps)
    return sum(chosen)


def is_poisson(times, steps):
    low, high = binom.ppf([ALARM / 2, 1 - ALARM / 2], steps, SMALL["sampling_rate"])
    return low <= times <= high


def test_a_rare_row_is_in_no_more_batches_than_its_coin_says(fit_small, monkeypatch):
    assert is_poisson(times_in_batches(fit_small, monkeypatch, 100), 100)


def test_training_by_sampling_is_caught(fit_small, monkeypatch):
    """As published: a category is drawn by its log-frequency, then a row that has it; rare rows are in nearly every batch."""
    rng = np.random.default_rng(1)

    def by_condition(units, *, rate):
        return np.unique(np.where(rng.random(round(units * rate)) < 0.1, 0, rng.integers(1, units, round(units * rate))))

    monkeypatch.setattr(engine, "poisson_sample", by_condition)
    assert not is_poisson(times_in_batches(fit_small, monkeypatch, 100), 100)
