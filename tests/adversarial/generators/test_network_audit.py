"""One fit of a network, canaries in its table by independent coins, and the strongest linear attack there is on DP-SGD.

The attacker knows the card, all other rows, the canaries, what was measured, and every noisy gradient sum: all that DP-SGD
protects even against. From each step it knows Σ cᵢ gᵢ + noise with known gᵢ, so it takes the least-squares estimate of the coins
c, and guesses every one of them (bound: Steinke et al. 2023). Steps take all rows
(sampling rate 1), which leaves nothing to luck. Latent draws of the autoencoder are no secret and are fixed at 0.

Each bound holds with confidence 1 - 1e-7; six honest fits are accused with probability below 1e-6.
"""

import numpy as np
import pyarrow as pa
import pytest
import torch

from generator.audit import one_run_lower_bound
from generator.sgd import engine, family
from generator.sgd.engine import PrivateSteps
from generator.sgd.prepare import encode

pytestmark = pytest.mark.slow
COLUMNS, VALUES, KNOWN, CANARIES, STEPS = 12, 8, 4000, 120, 6
DELTA, CONFIDENCE = 1e-9, 1 - 1e-7
NAMES = ("dp-ar", "dp-tvae", "dp-ctgan")
SMALL = {"steps": STEPS, "sampling_rate": 1.0, "device": "cpu", "histogram_share": 0.3}
WIDTHS = {
    "dp-ar": {"width": 16},
    "dp-tvae": {"width": 32, "latent": 8},
    "dp-ctgan": {"generator_width": 16, "discriminator_width": 64, "noise_width": 8},
}


def table_of(codes):
    return pa.table({f"c{place}": [f"v{code}" for code in codes[:, place]] for place in range(COLUMNS)})


class Attacker:
    """Sees every noisy sum and solves for the coins; it believes in the stated noise, or in another of size `believed`."""

    def __init__(self, monkeypatch, known, canaries, *, believed):
        self.gram, self.score = np.zeros((CANARIES, CANARIES)), np.zeros(CANARIES)
        measured, coded, losses_now = [], [], []
        measure, step, mask = family.measure, PrivateSteps.step, PrivateSteps._mask_gradients

        def seen_measure(*args, **facts):
            found = measure(*args, **facts)
            measured.append(found[0])
            return found

        def seen_step(steps, losses, more=None):
            losses_now[:] = [losses]
            step(steps, losses, more)

        def seen_gradients(steps):
            mask(steps)
            total = torch.cat([p.grad.flatten() for p in steps._parameters()]).double() * max(1.0, steps.expected)
            if not coded:
                coded.extend(torch.from_numpy(encode(table, measured[0]).codes) for table in (known, canaries))
            others = steps._clipped_sums(coded[0], torch.arange(KNOWN), KNOWN, losses_now[0])
            gradients = clipped(steps, coded[1], losses_now[0])
            noise = (believed or steps.noise_multiplier * steps.clip) ** 2
            rest = (total - torch.cat([part.flatten() for part in others]).double()).numpy()
            self.gram += gradients.numpy() @ gradients.numpy().T / noise
            self.score += gradients.numpy() @ rest / noise

        monkeypatch.setattr(family, "measure", seen_measure)
        monkeypatch.setattr(PrivateSteps, "step", seen_step)
        monkeypatch.setattr(PrivateSteps, "_mask_gradients", seen_gradients)

    def certainty(self):
        """How certainly each canary was in: the posterior mean of its coin, less one half."""
        return np.linalg.solve(self.gram + 4 * np.eye(CANARIES), self.score - self.gram @ np.full(CANARIES, 0.5))


def clipped(steps, codes, losses):
    """Clipped gradients, one row each."""
    steps._clipped_sums(codes, torch.arange(len(codes)), len(codes), losses)
    parts, squares = [], torch.zeros(len(codes), dtype=torch.float64)
    for layer in steps.layers:
        inputs, outputs = (part.double() for part in layer._recorded())
        weights = outputs[:, :, None] * inputs[:, None, :]
        if layer.mask is not None:
            weights = weights * layer.mask
        parts += [weights.flatten(1), outputs]
        squares += weights.square().sum((1, 2)) + outputs.square().sum(1)
    return torch.cat(parts, 1) * (steps.clip / squares.sqrt().clamp(min=steps.clip))[:, None]


def lower_bound(monkeypatch, card_of, fit, name, epsilon, *, believed=None):
    choice = np.random.default_rng(23)
    known, canaries = (choice.integers(0, VALUES, (rows, COLUMNS)) for rows in (KNOWN, CANARIES))
    coins = choice.random(CANARIES) < 0.5
    values = [f"v{code}" for code in range(VALUES)]
    card = card_of({f"c{place}": {"type": "category", "values": values, "missing": False} for place in range(COLUMNS)})
    attacker = Attacker(monkeypatch, table_of(known), table_of(canaries), believed=believed)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    train = table_of(np.concatenate([known, canaries[coins]]))
    fit(train, card, name=name, epsilon=str(epsilon), delta=str(DELTA), **SMALL, **WIDTHS[name])
    found = attacker.certainty()
    correct = int(((found > 0) == coins).sum())
    print(f"{name} claimed {epsilon}: {correct} of {CANARIES} coins guessed right")
    return one_run_lower_bound(correct, CANARIES, canaries=CANARIES, delta=DELTA, confidence=CONFIDENCE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epsilon", [1, 3])
def test_the_bound_stays_below_the_claim(monkeypatch, card_of, fit, name, epsilon):
    assert lower_bound(monkeypatch, card_of, fit, name, epsilon) <= epsilon


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_the_bound_exceeds_the_claim(monkeypatch, card_of, fit, name):
    monkeypatch.setattr(engine, "gaussian", lambda size, **_: np.zeros(size))
    assert lower_bound(monkeypatch, card_of, fit, name, 1, believed=0.01) > 1
