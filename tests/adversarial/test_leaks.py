"""A fixed part of the leak matrix (`leaks.py` measures all of it): what must hold on real tables, in a few minutes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evaluator.privacy import PrivacyOptions

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
def leaks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaks", Path(__file__).with_name("leaks.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["leaks"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables(leaks):
    return {one.name: one for one in leaks.subjects()}


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour"])
def test_train_itself_fails_on_at_least_four_independent_metrics(leaks, tables, table: str) -> None:
    found = leaks.found_by(leaks.verdict_of(tables[table], "train itself", 0, OPTIONS))
    families = {name.split(".")[0] for name in found - {"dcr.share", "nndr.ratio"}}
    assert len(families) >= 4, found


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour"])
def test_one_verbatim_copy_in_a_hundred_is_found(leaks, tables, table: str) -> None:
    verdict = leaks.verdict_of(tables[table], "1 % verbatim", 0, OPTIONS)
    assert not verdict.passed
    assert "copies" in leaks.found_by(verdict)


def test_one_verbatim_copy_in_four_hundred_is_found_where_rows_are_near_unique(leaks, tables) -> None:
    assert "copies" in leaks.found_by(leaks.verdict_of(tables["adult"], "0.25 % verbatim", 0, OPTIONS))


@pytest.mark.parametrize("plant", ["5 % near, one number jittered", "5 % near, two columns resampled"])
def test_five_near_copies_in_a_hundred_are_found(leaks, tables, plant: str) -> None:
    assert leaks.found_by(leaks.verdict_of(tables["adult-plain"], plant, 0, OPTIONS)) & MEMBERSHIP


@pytest.mark.parametrize("table", ["adult", "adult-plain"])
def test_columns_bootstrapped_from_raw_values_are_found(leaks, tables, table: str) -> None:
    found = leaks.found_by(leaks.verdict_of(tables[table], "columns bootstrapped from raw values", 0, OPTIONS))
    assert found & {"rare_values", "singling_out.univariate"}


@pytest.mark.parametrize("table", ["adult", "bike-hour"])
def test_copied_holdout_rows_refuse_as_contaminated_and_are_no_membership_failure(leaks, tables, table: str) -> None:
    verdict = leaks.verdict_of(tables[table], "5 % of the holdout copied", 0, OPTIONS)
    assert not verdict.passed
    found = leaks.found_by(verdict)
    assert "holdout_contaminated" in found
    assert not found & MEMBERSHIP


@pytest.mark.parametrize("table", ["adult", "adult-plain", "bike-hour", "hospital-stays"])
def test_fresh_real_rows_pass_every_privacy_line(leaks, tables, table: str) -> None:
    """One fixed split a table; a sound gate refuses one in two hundred, so the seed's verdict is a fact and not a chance."""
    verdict = leaks.verdict_of(tables[table], leaks.FRESH, 1, OPTIONS)
    assert verdict.passed, [(rule.metric, rule.code) for rule in verdict.blocking]
