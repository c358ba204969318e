"""A fixed part of the leak matrix (`leaks.py` measures all of it): what must hold on real tables, in a few minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evaluator.privacy import PrivacyOptions
from tests.adversarial import leaks
from tests.adversarial.plants import WHERE

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real tables is not beside the checkout"),
]
OPTIONS = PrivacyOptions(workers=2)
MEMBERSHIP = {
    "copies",
    "copies.near_excess_share",
    "rare_values",
    "mia.tpr_at_fpr_1pct",
    "mia.exposed.tpr_at_fpr_10pct",
    "mia.auc",
}


@pytest.fixture(scope="module")
def tables():
    return {one.name: one for one in leaks.subjects()}


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour"])
def test_train_itself_fails_on_at_least_four_independent_metrics(tables, table: str) -> None:
    found = leaks.found_by(leaks.verdict_of(tables[table], "train itself", 0, OPTIONS))
    families = {name.split(".")[0] for name in found - {"dcr.share", "nndr.ratio"}}
    assert len(families) >= 4, found


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour"])
def test_one_verbatim_copy_in_a_hundred_is_found(tables, table: str) -> None:
    verdict = leaks.verdict_of(tables[table], "1 % verbatim", 0, OPTIONS)
    assert not verdict.passed
    assert "copies" in leaks.found_by(verdict)


def test_one_verbatim_copy_in_four_hundred_is_found_where_rows_are_near_unique(tables) -> None:
    assert "copies" in leaks.found_by(leaks.verdict_of(tables["adult"], "0.25 % verbatim", 0, OPTIONS))


def test_one_verbatim_copy_in_four_hundred_is_warned_of_where_rows_have_twins_by_chance(tables) -> None:
    """Its p-value lies near 0.001 on Adult without its near-unique column: below the limit that the card states."""
    results = leaks.results_of(tables["adult-plain"], "0.25 % verbatim", 0, OPTIONS)
    assert "copies" in leaks.warned_by(results)
    assert 0.0025 < results["privacy.copies.excess_share"].detail["detection_limit"] < 0.006


@pytest.mark.parametrize(
    "plant", ["5 % near, one number jittered", "5 % near, every number jittered", "5 % near, two columns resampled"]
)
def test_five_near_copies_in_a_hundred_are_found(tables, plant: str) -> None:
    assert leaks.found_by(leaks.verdict_of(tables["adult-plain"], plant, 0, OPTIONS)) & MEMBERSHIP


@pytest.mark.parametrize("table", ["adult", "adult-plain"])
def test_columns_bootstrapped_from_raw_values_are_found(tables, table: str) -> None:
    found = leaks.found_by(leaks.verdict_of(tables[table], "columns bootstrapped from raw values", 0, OPTIONS))
    assert found & {"rare_values", "singling_out.univariate"}


@pytest.mark.parametrize("table", ["adult", "bike-hour"])
def test_copied_holdout_rows_refuse_as_contaminated_and_are_no_membership_failure(tables, table: str) -> None:
    verdict = leaks.verdict_of(tables[table], "5 % of the holdout copied", 0, OPTIONS)
    assert not verdict.passed
    found = leaks.found_by(verdict)
    assert "holdout_contaminated" in found
    assert not found & MEMBERSHIP


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour", "hospital-stays"])
def test_fresh_real_rows_pass_every_privacy_line(tables, table: str) -> None:
    """One fixed split a table; a sound gate refuses one in two hundred, so the seed's verdict is a fact and not a chance."""
    verdict = leaks.verdict_of(tables[table], leaks.FRESH, 1, OPTIONS)
    assert verdict.passed, [(rule.metric, rule.code) for rule in verdict.blocking]


@pytest.mark.parametrize(("table", "distortion"), [(table, name) for table, listed in WHERE.items() for name in listed])
def test_each_distortion_is_named_by_a_metric_that_fresh_rows_keep(tables, table: str, distortion: str) -> None:
    smaller = replace(tables[table], rows=min(tables[table].rows, 6_000))
    known = fresh_shape(smaller)
    assert leaks.found_by(leaks.shape_verdict(smaller, distortion, 0)) - known


KNOWN: dict[str, set[str]] = {}


def fresh_shape(one: leaks.Subject) -> set[str]:
    """Utility lines that fresh rows of a table fail, measured once a table."""
    if one.name not in KNOWN:
        KNOWN[one.name] = leaks.found_by(leaks.shape_verdict(one, leaks.FRESH, 0))
    return KNOWN[one.name]
