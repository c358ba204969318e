"""A fit that is killed goes on from its checkpoint: nothing is measured twice, and every step ever started is spent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from generator import registry
from generator.base import Cancelled, FittedGenerator, GeneratorError, ModelCorrupt
from generator.plans import plan
from generator.sgd import engine
from generator.sgd.checkpoint import Checkpoint
from generator.sgd.engine import Batches
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import PrivacyTarget

TARGET = PrivacyTarget(epsilon=Decimal(3), delta=Decimal("1e-5"))
STEPS = 45
SMALL = {"steps": STEPS, "sampling_rate": 0.2, "device": "cpu"}
NARROW = {"dp-ctgan": {"generator_width": 16, "discriminator_width": 16}}
KILLED_AT = 31  # states are saved every second step: the 31st step's noise is drawn and its result is lost

CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_checkpoint import KILLED_AT, fit
from generator.sgd import engine

honest, calls = engine.PrivateSteps._mask_gradients, 0

def killed(steps):
    global calls
    calls += 1
    if calls == KILLED_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    honest(steps)

engine.PrivateSteps._mask_gradients = killed
fit(sys.argv[2], Path(sys.argv[3]))
"""


def make_card() -> DatasetCard:
    columns = {"region": {"type": "category", "values": ["north", "south"]}, "age": {"type": "integer", "bounds": [18, 90]}}
    spec = {"source": "made.parquet", "columns": columns}
    return DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "made"}, "spec": spec}
    )


def make_table() -> pa.Table:
    choice = np.random.default_rng(0)
    regions = np.array(["north", "south"])[choice.integers(0, 2, 200)]
    return pa.table({"region": regions.tolist(), "age": pa.array(choice.integers(18, 91, 200), pa.int64())})


def fit(name: str, folder: Path | None, *, stop_at: float = 2.0, **values: object) -> FittedGenerator:
    def progress(share: float, _stage: str) -> None:
        if share > stop_at:
            raise Cancelled("enough")

    return registry.create(name, {**SMALL, **NARROW.get(name, {}), **values}).fit(
        make_table(), card=make_card(), target=TARGET, rng=np.random.default_rng(0), progress=progress, checkpoint=folder
    )


def steps_spent(fitted: FittedGenerator) -> int:
    return next(int(m.parameters["steps"]) for m in fitted.spent.mechanisms if m.name == "DP-SGD")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Batches drawn in this process."""
    rates: list[float] = []
    honest = Batches.sample

    def counted(batches: Batches, rate: float) -> object:
        rates.append(rate)
        return honest(batches, rate)

    monkeypatch.setattr(Batches, "sample", counted)
    return rates


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measurements charged in this process."""
    names: list[str] = []
    honest = Account.gaussian

    def noted(account: Account, name: str, **facts: object) -> object:
        names.append(name)
        return honest(account, name, **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(Account, "gaussian", noted)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dp-ctgan"])
def test_a_killed_fit_goes_on_and_counts_the_lost_step_too(
    name: str, tmp_path: Path, taken: list[float], charged: list[str]
) -> None:
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, __file__, name, str(tmp_path)], cwd=root, check=False, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    found = fit(name, tmp_path)
    assert charged == []
    assert len(taken) == STEPS - KILLED_AT
    assert steps_spent(found) == STEPS
    planned = plan(generator=name, target=TARGET, hyperparameters={**SMALL, **NARROW.get(name, {})})
    assert found.spent.rdp == fit(name, None).spent.rdp
    assert found.spent.epsilon is not None
    assert planned.epsilon is not None
    assert found.spent.epsilon <= planned.epsilon <= TARGET.epsilon
    assert {m.name for m in found.spent.mechanisms} == {"one-way counts", "DP-SGD"}
    assert pa.Table.from_batches(list(found.sample(20, rng=np.random.default_rng(0)))).num_rows == 20


@pytest.mark.parametrize("name", ["dp-ar", "dp-tvae", "dp-ctgan"])
def test_what_is_restored_is_all_that_training_depends_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without chance, a fit in two parts ends where the whole fit does: parameters, averages and Adam's memory."""
    monkeypatch.setattr(engine, "gaussian", lambda size, **_: np.zeros(size))
    monkeypatch.setattr(Account, "gaussian", lambda *_, **__: 1)
    monkeypatch.setattr("generator.marginal.measure.discrete_gaussian", lambda _, size: np.zeros(size, np.int64))
    monkeypatch.setattr(torch, "randn", lambda *size, **_: torch.linspace(-1, 1, int(np.prod(size))).view(*size))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch.nn.functional, "gumbel_softmax", lambda logits, **_: torch.softmax(logits, 1))
    values = {"sampling_rate": 1.0, "steps": 20}
    torch.manual_seed(0)
    whole = fit(name, None, **values).sampler.arrays()  # type: ignore[attr-defined]
    torch.manual_seed(0)
    with pytest.raises(Cancelled):
        fit(name, tmp_path, stop_at=0.5, **values)
    torch.manual_seed(1)  # whatever a new process draws first is overwritten
    parts = fit(name, tmp_path, **values).sampler.arrays()  # type: ignore[attr-defined]
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert np.allclose(value, parts[key], atol=1e-6), key


def test_a_finished_fit_takes_no_further_step(tmp_path: Path, taken: list[float]) -> None:
    first = fit("dp-ar", tmp_path)
    del taken[:]
    again = fit("dp-ar", tmp_path)
    assert taken == []
    arrays = again.sampler.arrays()  # type: ignore[attr-defined]
    assert all(np.array_equal(value, arrays[key]) for key, value in first.sampler.arrays().items())  # type: ignore[attr-defined]


def test_a_fit_killed_while_it_measured_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        fit("dp-ar", tmp_path, stop_at=0.01)
    with pytest.raises(GeneratorError, match="charged anew"):
        fit("dp-ar", tmp_path)


def test_a_folder_serves_its_own_fit_and_one_process(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, fingerprint="a"), pytest.raises(GeneratorError, match="another process"):
        Checkpoint(tmp_path, fingerprint="a")
    with pytest.raises(GeneratorError, match="another fit"):
        Checkpoint(tmp_path, fingerprint="b")
    fit("dp-ar", tmp_path / "one")
    with pytest.raises(GeneratorError, match="another fit"):
        fit("dp-ar", tmp_path / "one", clip=0.5)


def test_a_changed_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        fit("dp-ar", tmp_path, stop_at=0.5)
    place = tmp_path / json.loads((tmp_path / "state.json").read_text())["folder"]
    blob = bytearray((place / "model.safetensors").read_bytes())
    blob[-1] ^= 1
    (place / "model.safetensors").write_bytes(bytes(blob))
    with pytest.raises(ModelCorrupt):
        fit("dp-ar", tmp_path)


def test_a_folder_holds_no_row(tmp_path: Path) -> None:
    """One state at a time, and nothing whose first dimension is that of the table."""
    fit("dp-ctgan", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("state-")) == ["journal", "state.json"]
    (state,) = tmp_path.glob("state-*")
    from safetensors.numpy import load

    arrays = load((state / "model.safetensors").read_bytes())
    assert arrays
    assert not [name for name, array in arrays.items() if array.shape[:1] == (make_table().num_rows,)]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command line for a small fit."""
    import pyarrow.csv

    pyarrow.csv.write_csv(make_table(), tmp_path / "made.csv")
    (tmp_path / "card.yaml").write_text(json.dumps(make_card().model_dump(mode="json", by_alias=True, exclude_none=True)))
    return [
        "--train", str(tmp_path / "made.csv"), "--card", str(tmp_path / "card.yaml"), "--generator", "dp-ar", "--epsilon", "3",
        "--rows", "10", "--out", str(tmp_path / "out.csv"), "--set", "steps=4", "--set", "sampling_rate=0.2",
        "--checkpoint", str(tmp_path / "kept"),
    ]  # fmt: skip


def test_the_command_keeps_a_checkpoint(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from generator.__main__ import main

    assert main(command) == 0, capsys.readouterr().err
    assert (tmp_path / "kept" / "state.json").exists()
    assert main([*command[:-2], "--set", "clip=0.5", *command[-2:]]) == 4
    assert "another fit" in capsys.readouterr().err


def test_the_command_stops_without_a_traceback(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from generator.__main__ import main

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.PrivateSteps, "step", stopped)
    assert main(command) == 130
    assert "is spent" in capsys.readouterr().err
