"""Broken DP-SGD trainers, planted and caught: one without noise, one with half of it.

White box: the noise that a fit draws is recorded and its variance compared with the accounted one. A fit without noise repeats
itself exactly. The black-box audit of whole generators is elsewhere.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generator.ar.network import ArNetwork
from generator.sgd import engine
from generator.sgd.engine import Batches, PrivateSteps
from generator.sgd.onehot import Layout

SIZES = (4, 3, 5)


def trained(codes: np.ndarray, *, noise: float, rate: float = 1.0) -> torch.Tensor:
    torch.manual_seed(0)
    layout = Layout(SIZES)
    network = ArNetwork(layout, order=(0, 1, 2), width=8)
    steps = PrivateSteps(
        network=network, batches=Batches.of(torch.from_numpy(codes), None), rate=rate, noise_multiplier=noise, clip=1.0,
        expected=float(len(codes)), learning_rate=0.01, steps=4,
    )  # fmt: skip
    network.train_with(steps, lambda: None)
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def table(*, with_canary: bool) -> np.ndarray:
    choice = np.random.default_rng(3)
    rows = np.stack([choice.integers(0, size - 1, 399) for size in SIZES], axis=1)
    canary = np.array([[size - 1 for size in SIZES]])
    return np.concatenate([rows, canary if with_canary else rows[:1]])


def test_the_same_fit_twice_differs_by_its_noise() -> None:
    assert not torch.allclose(trained(table(with_canary=True), noise=2.0), trained(table(with_canary=True), noise=2.0))


def test_a_broken_trainer_without_noise_is_caught() -> None:
    first, second = (trained(table(with_canary=True), noise=0.0) for _ in range(2))
    assert torch.allclose(first, second, atol=1e-6)  # the sign by which the audit knows it
    assert not torch.allclose(first, trained(table(with_canary=False), noise=0.0), atol=1e-6)


def test_a_broken_trainer_that_halves_its_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variance of the recorded noise against the accounted one; false alarms below 1e-7."""
    recorded: list[np.ndarray] = []
    honest = engine.gaussian

    def halved(size: int, *, sigma: float) -> np.ndarray:
        found = honest(size, sigma=sigma / 2)
        recorded.append(found / sigma)
        return found

    monkeypatch.setattr(engine, "gaussian", halved)
    trained(table(with_canary=True), noise=2.0)
    draws = np.concatenate(recorded)
    assert abs(draws.var() - 1.0) > 5.5 * np.sqrt(2 / draws.size)


def test_the_honest_trainer_draws_what_it_accounts_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same test passes the honest one; false alarms below 1e-7."""
    recorded: list[np.ndarray] = []
    honest = engine.gaussian

    def kept(size: int, *, sigma: float) -> np.ndarray:
        found = honest(size, sigma=sigma)
        recorded.append(found / sigma)
        return found

    monkeypatch.setattr(engine, "gaussian", kept)
    trained(table(with_canary=True), noise=2.0)
    draws = np.concatenate(recorded)
    assert abs(draws.var() - 1.0) < 5.5 * np.sqrt(2 / draws.size)
