"""Where another library measures by the same definition, the numbers are the same.

What SDMetrics and anonymeter say was computed once by `tests/bench/reference_values.py` in an environment of their own and stands
in `reference.json` with their versions. Definitions that differ are listed in docs/explanation/agreement.md.
"""

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from evaluator.inputs import check_inputs
from evaluator.privacy import PrivacyOptions, singling_out
from evaluator.privacy.copies import COPIES
from evaluator.privacy.inference import INFERENCE
from evaluator.privacy.linkability import LINKABILITY
from evaluator.privacy.singling_out import SINGLING_OUT
from evaluator.statistics import Rate, wilson
from evaluator.utility import coverage, marginals, overall, pairs
from evaluator.utility.tables import tables_of
from policies.card import DatasetCard
from tests.bench.reference_tables import WORLDS, digest

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())
SDMETRICS, ANONYMETER = REFERENCE["sdmetrics"], REFERENCE["anonymeter"]
PEOPLE = {
    "age": {"type": "integer"},
    "income": {"type": "number"},
    "spend": {"type": "number"},
    "town": {"type": "category"},
    "job": {"type": "category"},
}
GRID = {name: {"type": "integer", "role": "quasi-identifier" if name in "abc" else "other"} for name in "abcdef"}
COLUMNS = {
    "people": PEOPLE,
    "grid": GRID | {"ill": {"type": "category", "role": "sensitive"}},
    "names": {name: {"type": "category"} for name in "xyz"},
}


def inputs_of(name):
    document = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": name}}
    card = DatasetCard.model_validate(document | {"spec": {"source": "t.csv", "columns": COLUMNS[name]}})
    return check_inputs(**{side: pa.table(columns) for side, columns in WORLDS[name].items()}, card=card, seed=0)


@pytest.fixture(scope="module")
def people():
    return tables_of(inputs_of("people"))


@pytest.fixture(scope="module")
def singles(people):
    return marginals.measure(people)


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_reference_was_computed_on_these_tables(name):
    assert digest(WORLDS[name]) == REFERENCE["tables"][name]


@pytest.mark.parametrize("name", ["age", "income", "spend"])
def test_ks_is_one_minus_ks_complement(singles, name):
    assert singles[f"utility.marginals.ks.{name}"].value == pytest.approx(1 - SDMETRICS["KSComplement"][name], abs=1e-12)


@pytest.mark.parametrize("name", ["town", "job"])
def test_tv_is_one_minus_tv_complement(singles, name):
    assert singles[f"utility.marginals.tv.{name}"].value == pytest.approx(1 - SDMETRICS["TVComplement"][name], abs=1e-12)


@pytest.mark.parametrize("name", list(PEOPLE))
def test_missingness_is_one_minus_missing_value_similarity(singles, name):
    expected = 1 - SDMETRICS["MissingValueSimilarity"][name]
    assert singles[f"utility.missingness.{name}"].value == pytest.approx(expected, abs=1e-12)


def test_rank_correlations_are_those_of_correlation_similarity(people):
    found = pairs.measure(people)["utility.pairs.correlation.worst"].detail["next"]
    expected = SDMETRICS["CorrelationSimilarity spearman"]
    assert {" and ".join(entry["columns"]) for entry in found} == set(expected)
    for entry in found:
        assert entry["value"] / 2 == pytest.approx(1 - expected[" and ".join(entry["columns"])], abs=1e-9)


def test_two_categories_change_by_what_contingency_similarity_says(people):
    found = pairs.measure(people)["utility.pairs.contingency.worst"].detail["next"]
    (value,) = [entry["value"] for entry in found if set(entry["columns"]) == {"town", "job"}]
    assert value == pytest.approx(1 - SDMETRICS["ContingencySimilarity"], abs=1e-12)


def test_overall_is_the_quality_report(people):
    results, expected = overall.measure(people), SDMETRICS["QualityReport"]
    assert results["utility.overall"].value == pytest.approx(expected["score"], abs=1e-9)
    assert results["utility.overall.shapes"].value == pytest.approx(expected["shapes"], abs=1e-9)
    assert results["utility.overall.pair_trends"].value == pytest.approx(expected["pair_trends"], abs=1e-9)


def test_categories_that_twenty_people_share_are_covered_as_category_coverage_has_it(people):
    expected = SDMETRICS["CategoryCoverage"]
    assert coverage.measure(people)["utility.coverage.categories"].value == sum(expected.values()) / len(expected)


def test_identical_rows_are_what_new_row_synthesis_leaves(people):
    found = COPIES.run(people.inputs, PrivacyOptions())["privacy.copies.identical_share"]
    assert found.value == pytest.approx(1 - SDMETRICS["NewRowSynthesis"], abs=1e-12)


@pytest.fixture(scope="module")
def attacks():
    grid, names, options = inputs_of("grid"), inputs_of("names"), PrivacyOptions()
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # the card says nothing of fewer predicates than hold a line; the count is the same
        patch.setattr(singling_out, "LEAST_UNIVARIATE", 1)
        alone = SINGLING_OUT.run(names, options)["privacy.singling_out.univariate"]
    return {
        "Linkability": LINKABILITY.run(grid, options)["privacy.linkability"],
        "Inference": INFERENCE.run(grid, options)["privacy.attribute_inference.ill"],
        "SinglingOut univariate": alone,
    }


@pytest.mark.parametrize("name", ["Linkability", "Inference", "SinglingOut univariate"])
def test_an_attack_succeeds_as_often_as_that_of_anonymeter(attacks, name):
    detail, theirs = attacks[name].detail, ANONYMETER[name]
    assert detail["attack"] * theirs["attacks"] == pytest.approx(theirs["successes"], abs=1e-9)
    assert detail["control"] * theirs["control_attacks"] == pytest.approx(theirs["control_successes"], abs=1e-9)


def test_the_halves_are_those_that_anonymeter_was_given(attacks):
    assert [list(half) for half in attacks["Linkability"].detail["halves"]] == ANONYMETER["halves"]


@pytest.mark.parametrize("name", ["Linkability", "Inference", "SinglingOut univariate"])
def test_rates_have_the_interval_of_wilson(name):
    theirs = ANONYMETER[name]
    for successes, attacks_made, rate in (
        ("successes", "attacks", "attack_rate"),
        ("control_successes", "control_attacks", "control_rate"),
    ):
        low, high = wilson(Rate(theirs[successes], theirs[attacks_made]), 0.95)
        centre, error = theirs[rate]
        assert (low, high) == pytest.approx((centre - error, centre + error), abs=1e-12)


@pytest.mark.parametrize("name", ["Linkability", "Inference", "SinglingOut univariate"])
def test_risk_is_that_of_anonymeter_up_to_the_centre_of_wilson(attacks, name):
    """Ours divides shares, theirs the centres of two Wilson intervals: both formulas give each other's number from the counts."""
    theirs, result = ANONYMETER[name], attacks[name]
    risk = result.detail.get("normalised_risk", result.value)
    interval = result.detail.get("normalised_risk_interval", result.interval)
    share, control = (theirs[key] / theirs["attacks"] for key in ("successes", "control_successes"))
    assert risk == pytest.approx((share - control) / (1 - control), abs=1e-9)
    (first, error), (second, other) = theirs["attack_rate"], theirs["control_rate"]
    assert theirs["risk"]["value"] == pytest.approx((first - second) / (1 - second), abs=1e-12)
    half = math.hypot(error / (1 - second), other * (1 - first) / (1 - second) ** 2)
    assert theirs["risk"]["interval"][1] == pytest.approx(theirs["risk"]["value"] + half, abs=1e-12)
    assert risk == pytest.approx(theirs["risk"]["value"], abs=0.02)
    assert (interval[1] - interval[0]) / 2 == pytest.approx(half, rel=0.2)


def test_ks_is_the_statistic_of_scipy(people, singles):
    """synthcity's KolmogorovSmirnovTest is the mean of one minus this statistic; it has no rule for missing values."""
    for name in ("age", "spend"):
        column = people.columns[name]
        theirs = ks_2samp(column.values["train"], column.values["synthetic"]).statistic
        assert singles[f"utility.marginals.ks.{name}"].value == pytest.approx(theirs, abs=1e-12)


def test_the_share_of_common_rows_is_that_of_synthcity():
    """The formula of synthcity 0.2.12, `CommonRowsProportion`: distinct rows that both tables hold, over the rows of train.

    Ours divides by the rows of synthetic. Where no row stands twice the two counts are the same.
    """
    train, synthetic = (
        list(zip(*(WORLDS["grid"][side][name] for name in "abcdef"), strict=True)) for side in ("train", "synthetic")
    )
    assert len(set(train)) == len(train)
    theirs = len(set(train) & set(synthetic)) / len(train)
    found = COPIES.run(inputs_of("grid"), PrivacyOptions())["privacy.copies.identical_share"].value
    assert theirs == pytest.approx(0.1333333333288889, abs=1e-9)  # what synthcity itself says of these tables
    assert found * len(synthetic) == pytest.approx(theirs * len(train), abs=1e-9)


def test_ks_is_one_minus_what_synthcity_averages():
    """The formula of synthcity 0.2.12, `KolmogorovSmirnovTest`: the mean over columns of one minus SciPy's two-sample statistic."""
    world = WORLDS["grid"]
    theirs = sum(1 - ks_2samp(world["train"][name], world["synthetic"][name]).statistic for name in "abcdef") / 6
    found = marginals.measure(tables_of(inputs_of("grid")))["utility.marginals.ks.mean"].value
    assert 1 - found == pytest.approx(theirs, abs=1e-12)
    assert 1 - found == pytest.approx(0.9500000000000001, abs=1e-12)  # what synthcity itself says of these tables
