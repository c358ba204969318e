"""The neural generators end to end, on small tables."""

from __future__ import annotations

import json
import warnings
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from generator import registry
from generator.base import BadHyperparameters, BadTable, Cancelled, FittedGenerator, GeneratorError, ModelCorrupt
from generator.hyperparameters import checked
from generator.plans import plan
from generator.sgd.prepare import measure
from policies.card import DatasetCard
from policies.types import PrivacyTarget

DP = ("dp-ar", "dp-tvae", "dp-ctgan", "pate-gan")
VOTES = {"teachers": 20, "rounds": 2, "root_queries": 8, "student_steps": 3, "device": "cpu"}
TARGET = PrivacyTarget(epsilon=Decimal(3), delta=Decimal("1e-5"))
SMALL = {"steps": 6, "sampling_rate": 0.2, "device": "cpu"}
REGIONS = ("north", "south", "east")


def make_card(**spec: object) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "made"},
            "spec": {
                "source": "made.parquet",
                "targets": ["paid"],
                "columns": {
                    "who": {"type": "id", "role": "identifier"},
                    "region": {"type": "category", "values": list(REGIONS)},
                    "age": {"type": "integer", "bounds": [18, 90]},
                    "amount": {"type": "number", "bounds": [0, 500], "decimals": 2},
                    "paid": {"type": "boolean", "missing": False},
                    "note": {"type": "text"},
                    "at": {
                        "type": "datetime",
                        "bounds": [date(2025, 1, 1), date(2025, 3, 31)],
                        "parts": ["trend", "weekday", "hour"],
                    },
                },
                **spec,
            },
        }
    )


def make_table(rows: int = 300, seed: int = 0) -> pa.Table:
    choice = np.random.default_rng(seed)
    return pa.table(
        {
            "who": pa.array([f"p{place // 2}" for place in range(rows)]),
            "region": pa.array([None if place % 17 == 0 else REGIONS[place % 3] for place in range(rows)], pa.string()),
            "age": pa.array(choice.integers(18, 91, rows), pa.int64()),
            "amount": pa.array(np.round(choice.uniform(0, 500, rows), 2)),
            "paid": pa.array(choice.random(rows) < 0.4),
            "note": pa.array([f"secret {place}" for place in range(rows)]),
            "at": pa.array(np.datetime64("2025-01-01", "us") + choice.integers(0, 2000, rows).astype("timedelta64[h]")),
        }
    )


def small(name: str) -> dict[str, object]:
    return VOTES if name == "pate-gan" else SMALL


def fit(name: str, *, card: DatasetCard | None = None, table: pa.Table | None = None, **values: object) -> FittedGenerator:
    is_dp = registry.info(name).is_dp
    generator = registry.create(name, {**(small(name) if is_dp else {"epochs": 1, "batch_size": 100}), **values})
    with warnings.catch_warnings():
        if not is_dp:
            warnings.simplefilter("ignore")  # the package's own
        return generator.fit(
            make_table() if table is None else table,
            card=card or make_card(),
            target=TARGET if is_dp else None,
            rng=np.random.default_rng(0),
        )


def rows_of(fitted: FittedGenerator, rows: int, seed: int = 5, **where: str) -> pa.Table:
    return pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(seed), where=where or None)))


@pytest.fixture(scope="module", params=DP)
def fitted(request: pytest.FixtureRequest) -> FittedGenerator:
    return fit(request.param)


def test_rows_have_the_cards_columns_and_keep_its_bounds(fitted: FittedGenerator) -> None:
    found = rows_of(fitted, 500)
    assert found.num_rows == 500
    assert found.column_names == list(make_card().columns)
    assert set(found["region"].to_pylist()) <= {*REGIONS, None}
    assert pc.min(found["age"]).as_py() >= 18
    assert pc.max(found["amount"]).as_py() <= 500
    assert not any("secret" in (note or "") for note in found["note"].to_pylist())
    assert not set(found["who"].to_pylist()) & set(make_table()["who"].to_pylist())


def test_spending_stays_within_the_target_and_names_every_look(fitted: FittedGenerator) -> None:
    spent = fitted.spent
    assert spent.epsilon is not None
    assert Decimal("2.9") < spent.epsilon <= 3
    assert spent.delta == TARGET.delta
    assert {mechanism.name for mechanism in spent.mechanisms} == {
        "one-way counts",
        "votes of teachers" if fitted.info.name == "pate-gan" else "DP-SGD",
    }
    assert sum(mechanism.share for mechanism in spent.mechanisms) == pytest.approx(1.0, abs=0.02)
    assert "operating system" in spent.noise_source
    assert type(spent).from_json(spent.to_json()).rdp == spent.rdp
    planned = plan(generator=fitted.info.name, target=TARGET, hyperparameters=small(fitted.info.name))
    if planned.rho is not None:
        assert spent.rho is not None
        assert spent.rho <= planned.rho
    assert all(used <= most for (_, used), (_, most) in zip(spent.rdp, planned.rdp, strict=True))


def test_equal_seeds_draw_equal_rows_and_others_do_not(fitted: FittedGenerator) -> None:
    assert rows_of(fitted, 50, seed=1).equals(rows_of(fitted, 50, seed=1))
    assert not rows_of(fitted, 50, seed=1).equals(rows_of(fitted, 50, seed=2))


def test_conditions_hold_in_every_row(fitted: FittedGenerator) -> None:
    assert set(rows_of(fitted, 40, region="south")["region"].to_pylist()) == {"south"}
    with pytest.raises(GeneratorError):
        rows_of(fitted, 1, region="nowhere")


def test_a_saved_model_draws_the_same_rows_and_a_changed_one_is_refused(fitted: FittedGenerator, tmp_path: Path) -> None:
    digest = fitted.save(tmp_path)
    loaded = registry.load(tmp_path, digest=digest)
    assert rows_of(loaded, 60).equals(rows_of(fitted, 60))
    assert json.dumps(loaded.spent.to_json()) == json.dumps(fitted.spent.to_json())
    blob = bytearray((tmp_path / "model.safetensors").read_bytes())
    blob[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(bytes(blob))
    with pytest.raises(ModelCorrupt):
        registry.load(tmp_path, digest=digest)


def test_no_row_at_all_can_be_asked_for(fitted: FittedGenerator) -> None:
    assert rows_of(fitted, 0).num_rows == 0


def test_the_same_table_gives_another_model_each_time() -> None:
    first, second = fit("dp-ar"), fit("dp-ar")
    assert not np.array_equal(first.sampler.arrays()["direct.weight"], second.sampler.arrays()["direct.weight"])  # type: ignore[attr-defined]


def test_units_are_protected_whole_and_get_synthetic_keys() -> None:
    card = make_card(privacy_unit="who", max_rows_per_unit=2)
    found = fit("dp-ar", card=card)
    assert found.spent.unit == "who"
    assert "rows per unit" in {mechanism.name for mechanism in found.spent.mechanisms}
    keys = rows_of(found, 200)["who"].to_pylist()
    assert len(set(keys)) < 200
    # a missing key is nobody's: rows without a unit are drawn by their own noisy share
    assert max(keys.count(key) for key in set(keys) - {None}) <= 2


@pytest.mark.parametrize("each", [1, 3])
def test_units_are_counted_by_how_many_rows_they_have(each: int) -> None:
    """The steps' divisor: noise of ε = 100 on 300 units is far within the tolerance."""
    card = make_card(privacy_unit="who", max_rows_per_unit=4)
    table = make_table(300 * each).set_column(0, "who", pa.array([f"p{place // each}" for place in range(300 * each)]))
    wide = PrivacyTarget(epsilon=Decimal(100), delta=Decimal("1e-5"))
    assert measure(table, card=card, target=wide, share=0.5)[0].expected_units == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("name", DP)
def test_the_least_share_of_histograms_can_be_fitted_and_less_is_refused(name: str) -> None:
    card = make_card(privacy_unit="who", max_rows_per_unit=2)
    columns = {**card.spec.columns, "region": card.columns["region"].model_copy(update={"values": None})}
    opened = card.model_copy(update={"spec": card.spec.model_copy(update={"columns": columns})})
    assert fit(name, card=opened, histogram_share=0.001).spent.epsilon is not None
    with pytest.raises(BadHyperparameters, match="'histogram_share'"):
        checked(name, {"histogram_share": 0.0009})


def test_an_open_domain_is_paid_for() -> None:
    card = make_card()
    columns = {**card.spec.columns, "region": card.columns["region"].model_copy(update={"values": None})}
    opened = card.model_copy(update={"spec": card.spec.model_copy(update={"columns": columns})})
    found = fit("dp-ar", card=opened, table=make_table(3000))
    assert found.spent.epsilon is not None
    assert found.spent.epsilon <= 3
    assert found.notes["estimated_domains"] == ["region"]


def test_a_fit_can_be_stopped() -> None:
    def stop(share: float, _stage: str) -> None:
        if share > 0.3:
            raise Cancelled("enough")

    generator = registry.create("dp-ar", SMALL)
    with pytest.raises(Cancelled):
        generator.fit(make_table(), card=make_card(), target=TARGET, rng=np.random.default_rng(0), progress=stop)


def test_what_cannot_be_fitted_says_why() -> None:
    generator = registry.create("dp-ar", SMALL)
    with pytest.raises(GeneratorError, match="needs a privacy target"):
        generator.fit(make_table(), card=make_card(), target=None, rng=np.random.default_rng(0))
    with pytest.raises(BadTable):
        generator.fit(make_table(0), card=make_card(), target=TARGET, rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", ["ctgan", "tvae"])
def test_the_packaged_networks_say_that_they_promise_nothing(name: str, tmp_path: Path) -> None:
    found = fit(name)
    assert not found.spent.is_dp
    rows = rows_of(found, 120)
    assert rows.num_rows == 120
    assert rows.schema.field("at").type == pa.timestamp("us")
    assert not set(rows["who"].to_pylist()) & set(make_table()["who"].to_pylist())
    assert set(rows_of(found, 10, region="north")["region"].to_pylist()) == {"north"}
    with pytest.raises(GeneratorError, match="never saved"):
        found.save(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(GeneratorError, match="takes no privacy target"):
        registry.create(name).fit(make_table(), card=make_card(), target=TARGET, rng=np.random.default_rng(0))
