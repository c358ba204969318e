from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from threadpoolctl import threadpool_limits

from evaluator.inputs import check_inputs
from evaluator.privacy import FAMILIES, PrivacyOptions
from policies.metric_catalogue import CATALOGUE, DEFAULT_LINES, lookup, suggest
from policies.types import PrivacySpent

MIA = "privacy.membership_inference"


def run(inputs, *names: str, **options):
    results = {}
    for family in FAMILIES:
        if not names or family.name in names:
            results |= family.run(inputs, PrivacyOptions(**options))
    return results


@pytest.fixture(scope="module")
def fresh_results(fresh):
    return run(fresh)


@pytest.fixture(scope="module")
def leaky_results(leaky):
    return run(leaky)


def test_every_metric_is_in_the_catalogue_and_json_safe(fresh_results, leaky_results) -> None:
    for results in (fresh_results, leaky_results):
        for name, result in results.items():
            spec = lookup(name)
            assert spec is not None, name
            assert spec.direction == result.direction, name
            assert result.value is None or spec.low <= result.value <= spec.high, name
            json.dumps(result.to_json(), allow_nan=False)
    wanted = {name for name in CATALOGUE if name.startswith("privacy.") and "<" not in name}
    assert wanted <= set(fresh_results)


def test_fresh_rows_of_the_population_fail_nothing(fresh_results) -> None:
    """Eight tests at 0.001 on one fixed draw: a false alarm has probability below 0.008, and the seed is fixed."""
    assert all(result.p_value is None or result.p_value > 1e-3 for result in fresh_results.values())
    assert fresh_results["privacy.singling_out.multivariate"].interval[0] <= 0
    assert abs(fresh_results["privacy.dcr.share"].value - 0.5) < 0.05


def test_train_itself_fails_on_independent_metrics(leaky_results) -> None:
    for name in ("copies.excess_share", "copies.near_excess_share", "rare_values.excess_share", "membership_inference.tpr_at_fpr_1pct",
                 "membership_inference.exposed.tpr_at_fpr_10pct", "outlier_exposure", "attribute_inference.ill"):  # fmt: skip
        assert leaky_results[f"privacy.{name}"].p_value < 1e-6, name
    for name, line in (("singling_out.multivariate", 0.05), ("linkability", 0.05), ("membership_inference.auc", 0.9)):
        assert leaky_results[f"privacy.{name}"].interval[0] > line, name
    assert leaky_results["privacy.k_map.max_risk"].value == 1.0
    assert leaky_results["privacy.copies.identical_share"].value == 1.0
    assert leaky_results["privacy.dcr.share"].value > 0.7


def test_the_most_exposed_subgroup_is_named(make_people, make_card) -> None:
    train, holdout, fresh = make_people(3000, 1), make_people(3000, 2), make_people(2500, 3)
    south = train.filter(pa.compute.equal(train["region"], "south")).slice(0, 500)
    mixed = pa.concat_tables([fresh.slice(500), south])
    results = run(check_inputs(train=train, holdout=holdout, synthetic=mixed, card=make_card(), seed=2), MIA)
    worst = results[f"{MIA}.auc"].detail["worst_subgroup"]
    assert (worst["column"], worst["group"]) == ("region", "south")
    assert worst["p_value"] < 1e-6


def test_one_row_in_a_hundred_copied_is_found(copied) -> None:
    results = run(copied(0.01), "privacy.copies")
    assert results["privacy.copies.excess_share"].p_value < 1e-4
    assert results["privacy.copies.near_excess_share"].p_value < 1e-2


def test_copied_holdout_rows_are_no_membership_failure_but_spoil_the_control(copied) -> None:
    results = run(copied(0.05, source="holdout"), "privacy.copies", MIA, "privacy.rare_values")
    blocked = results["privacy.copies.excess_share"]
    assert blocked.status == "inconclusive"
    assert blocked.detail["cause"] == "holdout_contaminated"
    assert results["privacy.holdout_contaminated"].p_value < 1e-6
    assert results[f"{MIA}.tpr_at_fpr_1pct"].p_value > 0.001
    assert results["privacy.rare_values.excess_share"].p_value > 0.001


def test_columns_resampled_from_raw_values_are_found_by_rare_values(fresh, make_people, make_card) -> None:
    train, holdout = make_people(2500, 1), make_people(2500, 2)
    rng = np.random.default_rng(9)
    synthetic = pa.table({name: train[name].take(pa.array(rng.integers(0, 2500, 2500))) for name in train.column_names})
    results = run(
        check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=make_card(), seed=1),
        "privacy.rare_values",
        "privacy.copies",
    )
    assert results["privacy.rare_values.excess_share"].p_value < 1e-6
    assert results["privacy.rare_values.excess_share"].detail["columns"][0]["column"] == "spend"
    assert results["privacy.copies.excess_share"].p_value > 0.001


def test_rows_copied_but_for_two_columns_are_found(make_people, make_card) -> None:
    train, holdout, synthetic = make_people(2500, 1), make_people(2500, 2), make_people(2500, 3)
    near = train.slice(0, 125)
    for name in ("visits", "ill"):
        near = near.set_column(near.schema.get_field_index(name), name, synthetic[name].slice(0, 125))
    mixed = pa.concat_tables([synthetic.slice(125), near])
    results = run(check_inputs(train=train, holdout=holdout, synthetic=mixed, card=make_card(), seed=1), "privacy.copies")
    assert results["privacy.copies.near_excess_share"].p_value < 1e-6
    assert any(
        "visits" in words or "ill" in words for words in results["privacy.copies.near_excess_share"].detail["most_telling"]
    )


def test_rounding_case_and_order_do_not_hide_a_copy(make_people, make_card) -> None:
    train, holdout, synthetic = make_people(2500, 1), make_people(2500, 2), make_people(2500, 3)
    disguised = train.slice(0, 250)
    disguised = disguised.set_column(1, "region", pa.array([text.upper() + " " for text in disguised["region"].to_pylist()]))
    spend = pa.array(disguised["spend"].to_numpy(zero_copy_only=False).astype(np.float32).astype(float), from_pandas=True)
    disguised = disguised.set_column(3, "spend", spend)
    mixed = pa.concat_tables([synthetic.slice(250), disguised]).select(list(reversed(train.column_names)))
    inputs = check_inputs(train=train, holdout=holdout, synthetic=mixed, card=make_card(), seed=1)
    assert run(inputs, "privacy.copies")["privacy.copies.excess_share"].p_value < 1e-10


def test_results_do_not_depend_on_threads(make_people, make_card) -> None:
    def once(workers: int):
        inputs = check_inputs(
            train=make_people(600, 1), holdout=make_people(600, 2), synthetic=make_people(600, 3), card=make_card(), seed=4
        )
        with threadpool_limits(limits=workers):
            return {name: result.to_json() for name, result in run(inputs, workers=workers).items()}

    assert once(1) == once(3)


def test_results_do_not_depend_on_which_families_ran_before(make_people, make_card) -> None:
    def made():
        return check_inputs(
            train=make_people(600, 1), holdout=make_people(600, 2), synthetic=make_people(600, 3), card=make_card(), seed=4
        )

    alone = {}
    for family in FAMILIES[::-1]:
        alone |= family.run(made(), PrivacyOptions())
    assert alone == run(made())


def test_too_few_people_are_inconclusive_never_a_guess(make_people, make_card) -> None:
    few = {"train": make_people(60, 1), "holdout": make_people(60, 2), "synthetic": make_people(60, 3)}
    results = run(check_inputs(**few, card=make_card(), seed=0))
    for name in (f"{MIA}.auc", f"{MIA}.tpr_at_fpr_1pct", "privacy.copies.excess_share", "privacy.linkability", "privacy.exchangeability",
                 "privacy.outlier_exposure", "privacy.attribute_inference.ill", "privacy.dcr.share", "privacy.singling_out.multivariate"):  # fmt: skip
        assert results[name].status == "inconclusive", name
        assert results[name].detail["why"]


def test_a_split_by_time_is_not_exchangeable(make_people, make_card) -> None:
    everybody = make_people(4000, 1).sort_by("age")
    inputs = check_inputs(
        train=everybody.slice(0, 2000), holdout=everybody.slice(2000), synthetic=make_people(1000, 3), card=make_card(), seed=0
    )
    results = run(inputs, "privacy.split")
    assert results["privacy.exchangeability"].p_value < 1e-4
    assert results["privacy.blind_attack.auc"].p_value < 1e-4


def with_units(table: pa.Table, per_unit: int, prefix: str) -> pa.Table:
    return table.append_column("who", pa.array([f"{prefix}{k // per_unit}" for k in range(table.num_rows)]))


def test_units_are_counted_not_their_rows(make_people, make_card) -> None:
    columns = {name: column.model_dump(exclude_none=True, exclude={"missing"}) for name, column in make_card().columns.items()}
    columns["who"] = {"type": "id", "role": "identifier"}
    card = make_card(columns, privacy_unit="who", max_rows_per_unit=5)
    train, holdout = with_units(make_people(2500, 1), 5, "t"), with_units(make_people(2500, 2), 5, "h")
    twenty = train.slice(0, 100).drop_columns(["who"])
    mixed = pa.concat_tables([make_people(2400, 3), twenty])
    results = run(
        check_inputs(train=train, holdout=holdout, synthetic=mixed, card=card, seed=0),
        "privacy.copies",
        MIA,
        "privacy.rare_values",
    )
    copies = results["privacy.copies.excess_share"]
    assert 990 <= copies.n <= 1000
    assert copies.detail["train_found"] == 20
    assert copies.p_value < 1e-4
    assert results[f"{MIA}.auc"].n == 1000
    assert results["privacy.rare_values.excess_share"].n <= 1000


def test_the_accounted_loss_is_echoed_exactly(fresh) -> None:
    spent = PrivacySpent(
        epsilon=Decimal("1.10"), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", accountant="zcdp", noise_source="os"
    )
    results = run(fresh, "privacy.dp", spent=spent)
    assert results["privacy.dp.epsilon"].detail["exact"] == "1.10"
    assert results["privacy.dp.delta"].value == 1e-6
    none = run(fresh, "privacy.dp", spent=PrivacySpent.none())
    assert none["privacy.dp.epsilon"].status == "not_applicable"
    assert none["privacy.dp.audit_lower_bound"].status == "not_applicable"


def test_the_catalogue_finds_names_and_proposes_them() -> None:
    assert lookup("privacy.attribute_inference.diag%2E1") is not None
    assert lookup("privacy.attribute_inference") is None
    assert lookup("privacy.membership_inference.aux") is None
    assert "privacy.membership_inference.auc" in suggest("privacy.membership_inference.aux")
    assert suggest("zzz") == []
    for line in DEFAULT_LINES:
        assert any(name.startswith(line.metric.rstrip("*")) for name in CATALOGUE), line.metric


def test_options_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PrivacyOptions(workers=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        PrivacyOptions(confidence=1.0)


@pytest.mark.parametrize("odd", [None, "9999-12-31"])
def test_a_date_as_secret_is_guessed_through_copies(make_card, odd: str | None) -> None:
    """Five per cent of the seconds since 1970 were 2.7 years: every guess was right, for members and others alike."""
    columns = {"k": {"type": "integer"}, "z": {"type": "integer"}, "visit": {"type": "date", "role": "sensitive"}}
    rng = np.random.default_rng(0)

    def made() -> pa.Table:
        days = np.datetime64("2023-01-01") + rng.integers(0, 1000, 800).astype("timedelta64[D]")
        if odd:
            days[:4] = np.datetime64(odd)
        return pa.table({"k": rng.integers(0, 10**6, 800), "z": rng.integers(0, 10**6, 800), "visit": pa.array(days)})

    train, holdout = made(), made()

    def difference(synthetic: pa.Table) -> tuple[float, float]:
        inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=make_card(columns), seed=0)
        return run(inputs, "privacy.attribute_inference")["privacy.attribute_inference.visit"].interval

    assert difference(train)[0] > 0.8
    low, high = difference(made())
    assert low < 0 < high
