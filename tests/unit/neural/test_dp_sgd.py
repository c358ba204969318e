"""DP-SGD by parts: norms, clipping, noise, subsamples, and the count of steps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from generator import registry
from generator.ar.network import ArNetwork
from generator.errors import GeneratorError
from generator.gan.network import GanNetwork
from generator.sgd import engine
from generator.sgd.engine import Batches, PrivateSteps
from generator.sgd.layers import PrivateLinear, private_layers
from generator.sgd.noise import gaussian, poisson_sample
from generator.sgd.onehot import Layout
from generator.vae.network import VaeNetwork
from policies.card import DatasetCard
from policies.types import PrivacyTarget

SIZES = (3, 2, 4)


def make_codes(rows: int, seed: int = 0) -> torch.Tensor:
    choice = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([choice.integers(0, size, rows) for size in SIZES], axis=1))


def make_steps(network: nn.Module, codes: torch.Tensor, *, owners: np.ndarray | None = None, **facts: float) -> PrivateSteps:
    given = {"rate": 1.0, "noise_multiplier": 0.0, "clip": 0.5, "expected": 1.0, "learning_rate": 0.0, "steps": 5, **facts}
    return PrivateSteps(network=network, batches=Batches.of(codes, owners), **given)  # type: ignore[arg-type]


def networks() -> list[tuple[nn.Module, object]]:
    torch.manual_seed(1)
    layout = Layout(SIZES)
    ar = ArNetwork(layout, order=(2, 0, 1), width=7)
    vae = VaeNetwork(layout, latent=3, width=6, beta=1.0)
    gan = GanNetwork(layout, noise=4, widths=(8, 8))
    ar_losses = lambda codes: layout.cross_entropy(ar(layout.one_hot(codes)), codes)  # noqa: E731
    return [(ar, ar_losses), (gan.private_part(), gan._real_losses), (vae, None)]


def per_row_gradients(network: nn.Module, losses: object, codes: torch.Tensor) -> list[torch.Tensor]:
    """The slow and obvious way: one backward pass a row."""
    found = []
    for row in codes:
        network.zero_grad()
        losses(row[None]).sum().backward()  # type: ignore[operator]
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in network.parameters()]
        found.append(torch.cat([part.flatten() for part in parts]).clone())
    network.zero_grad()
    return found


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("owners", [None, np.array([0, 0, 1, 2, 2, 2])])
def test_the_clipped_sum_is_that_of_slow_per_row_gradients(place: int, owners: np.ndarray | None) -> None:
    network, losses = networks()[place]
    codes = make_codes(6)
    slow = per_row_gradients(network, losses, codes)
    whose = np.arange(6) if owners is None else owners
    expected = torch.zeros_like(slow[0])
    for unit in np.unique(whose):
        rows = [slow[place] for place in np.flatnonzero(whose == unit)]
        bound = sum(float(row.norm()) for row in rows)
        expected += sum(rows) * min(1.0, 0.5 / bound)
    steps = make_steps(network, codes, owners=owners)
    steps.step(losses)  # type: ignore[arg-type]
    got = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])  # type: ignore[union-attr]
    assert torch.allclose(got, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("owners", [None, np.repeat(np.arange(5), 4)])
def test_one_unit_moves_the_sum_by_at_most_the_clip(place: int, owners: np.ndarray | None) -> None:
    network, losses = networks()[place]
    if losses is None:
        losses = network.losses  # type: ignore[assignment]
    codes = make_codes(20, seed=3)
    steps = make_steps(network, codes, owners=owners)
    units = 20 if owners is None else 5
    for unit in range(units):
        rows = codes[unit : unit + 1] if owners is None else codes[owners == unit]
        owner = torch.zeros(len(rows), dtype=torch.int64)
        sums = steps._clipped_sums(rows, owner, 1, losses)  # type: ignore[arg-type]
        assert float(torch.cat([part.flatten() for part in sums]).norm()) <= 0.5


def test_a_row_whose_gradient_is_not_finite_is_left_out() -> None:
    network, _ = networks()[0]
    codes = make_codes(3)
    steps = make_steps(network, codes)

    def losses(rows: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor([1.0, float("inf"), 1.0])[: len(rows)]
        return Layout(SIZES).cross_entropy(network(Layout(SIZES).one_hot(rows)), rows) * weights

    sums = steps._clipped_sums(codes, torch.arange(3), 3, losses)
    norm = float(torch.cat([part.flatten() for part in sums]).norm())
    assert np.isfinite(norm)
    assert norm <= 3 * 0.5


def test_a_parameter_outside_of_private_layers_is_refused() -> None:
    with pytest.raises(TypeError, match="without noise"):
        private_layers(nn.Sequential(PrivateLinear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="without noise"):
        private_layers(nn.Sequential(PrivateLinear(2, 2), nn.LayerNorm(2)))


def test_every_accounted_step_is_counted_and_none_beyond() -> None:
    network, losses = networks()[0]
    steps = make_steps(network, make_codes(4), steps=2, rate=1e-9)
    steps.step(losses)  # type: ignore[arg-type]
    steps.step(losses)  # type: ignore[arg-type]
    assert steps.started == 2
    with pytest.raises(RuntimeError, match="all accounted steps"):
        steps.step(losses)  # type: ignore[arg-type]


def test_a_step_that_breaks_is_spent_all_the_same() -> None:
    network, _ = networks()[0]
    steps = make_steps(network, make_codes(4))

    def broken(_rows: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("broken")

    with pytest.raises(ArithmeticError):
        steps.step(broken)
    assert steps.started == 1


def test_the_noise_of_a_step_has_the_variance_that_was_accounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """White box: an empty batch leaves noise alone; halved noise would be seen. False alarms below 1e-7 (5.5 σ of a variance)."""
    layer = PrivateLinear(100, 100)
    network = nn.Sequential(layer)
    steps = make_steps(network, torch.zeros(1, 1, dtype=torch.int64), rate=1e-18, noise_multiplier=3.0, clip=0.5, expected=2.0)
    steps.step(lambda rows: rows.float().sum(1))
    assert layer.weight.grad is not None
    found = layer.weight.grad.numpy().ravel() * 2.0
    variance = (3.0 * 0.5) ** 2
    assert abs(found.var() - variance) < 5.5 * variance * np.sqrt(2 / found.size)
    assert abs(found.mean()) < 5.5 * np.sqrt(variance / found.size)
    halved = found / 2
    assert abs(halved.var() - variance) > 5.5 * variance * np.sqrt(2 / found.size)
    assert engine.gaussian is gaussian


def test_noise_has_the_shape_of_a_gaussian_and_never_repeats() -> None:
    """Kolmogorov-Smirnov at 1e-6."""
    from scipy.stats import kstest

    draws = gaussian(20_001, sigma=2.0)
    assert kstest(draws / 2.0, "norm").pvalue > 1e-6
    assert not np.array_equal(draws, gaussian(20_001, sigma=2.0))
    assert gaussian(0, sigma=1.0).size == 0
    assert np.all(gaussian(5, sigma=0.0) == 0.0)


def test_a_poisson_sample_takes_each_unit_by_its_own_coin() -> None:
    """Binomial within 5 σ: false alarms below 1e-6."""
    sizes = np.array([poisson_sample(10_000, rate=0.03).size for _ in range(40)])
    assert abs(sizes.mean() - 300) < 5 * np.sqrt(291 / 40)
    assert sizes.std() > 5  # a fixed batch size would not vary
    assert np.array_equal(poisson_sample(100, rate=1.0), np.arange(100))
    assert poisson_sample(0, rate=0.5).size == 0


def test_units_are_sampled_whole() -> None:
    owners = np.array([7, 3, 7, 9, 3, 7])
    batches = Batches.of(torch.arange(6)[:, None], owners)
    for _ in range(20):
        rows, owner, units = batches.sample(0.5)
        taken = owners[rows[:, 0].numpy()]
        assert units == len(np.unique(taken))
        for unit in np.unique(taken):
            assert (taken == unit).sum() == (owners == unit).sum()
        assert [len(np.unique(owner.numpy()[taken == unit])) for unit in np.unique(taken)] == [1] * units


def test_a_masked_network_looks_back_only() -> None:
    torch.manual_seed(0)
    layout = Layout(SIZES)
    network = ArNetwork(layout, order=(2, 0, 1), width=9)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    codes = make_codes(1)
    for place, variable in enumerate(network.order):
        changed = codes.clone()
        for later in network.order[place:]:
            changed[0, later] = (changed[0, later] + 1) % SIZES[later]
        before, after = network(layout.one_hot(codes)), network(layout.one_hot(changed))
        start, end = layout.starts[variable], layout.starts[variable + 1]
        assert torch.equal(before[:, start:end], after[:, start:end])


@pytest.mark.parametrize("place", [0, 1])
def test_half_precision_moves_the_gradient_little_and_the_clip_not_at_all(place: int) -> None:
    network, losses = networks()[place]
    codes = make_codes(20, seed=3)
    sums = {}
    for is_half in (False, True):
        steps = make_steps(network, codes, clip=0.5)
        steps.is_half = is_half
        for row in range(20):
            one = steps._clipped_sums(codes[row : row + 1], torch.zeros(1, dtype=torch.int64), 1, losses)  # type: ignore[arg-type]
            assert float(torch.cat([part.flatten() for part in one]).norm()) <= 0.5
        found = steps._clipped_sums(codes, torch.arange(20), 20, losses)  # type: ignore[arg-type]
        assert all(part.dtype == torch.float32 for part in found)
        sums[is_half] = torch.cat([part.flatten() for part in found])
    assert not torch.equal(sums[True], sums[False])
    assert torch.allclose(sums[True], sums[False], atol=0.1 * float(sums[False].norm()))


@pytest.mark.parametrize(
    ("has_gpu", "has_bfloat16", "wish", "device", "is_half"),
    [
        (False, False, "auto", "cpu", False),
        (False, True, "auto", "cpu", False),  # a CPU has the format too; it is slower there
        (False, False, "cpu", "cpu", False),
        (True, False, "auto", "cuda", False),
        (True, True, "auto", "cuda", True),
        (True, True, "cuda", "cuda", True),
        (True, True, "cpu", "cpu", False),
    ],
)
def test_precision_and_device_are_chosen_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, *, has_gpu: bool, has_bfloat16: bool, wish: str, device: str, is_half: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    chosen = engine.device_of(wish)
    assert chosen.type == device
    assert engine.is_half("auto", chosen) == is_half
    assert not engine.is_half("float32", chosen)
    assert engine.is_half("bfloat16", chosen)


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    unread: Any = None
    card = DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "t"},
            "spec": {"source": "t.csv", "columns": {"a": {"type": "boolean"}}},
        }
    )  # fmt: skip
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6"))
    for name in ("dp-ar", "dp-tvae", "dp-ctgan", "pate-gan"):
        with pytest.raises(GeneratorError, match="no GPU"):
            registry.create(name, {"device": "cuda"}).fit(unread, card=card, target=target, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("noise", "steepness"), [(0.9, 0.1), (1.8, 0.0)])
def test_the_penalty_is_for_little_noise_and_reads_generated_rows_alone(noise: float, steepness: float) -> None:
    gan = GanNetwork(Layout(SIZES), noise=4, widths=(8, 8))
    gan.train_with(make_steps(gan.private_part(), make_codes(5), noise_multiplier=noise, steps=1), lambda: None)
    assert gan.steepness == steepness
    losses = []
    for gan.steepness in (0.0, 0.1):
        torch.manual_seed(2)
        losses.append(float(gan._fake_loss().detach()))
    assert losses[1] > losses[0]
    private = gan._real_losses(make_codes(5))
    gan.steepness = 100.0
    assert torch.equal(private, gan._real_losses(make_codes(5)))
