"""The report card: canonical, finite, reproducible, complete even when a family breaks."""

import hashlib
import json
import logging
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from evaluator import ReportCard, ReportCardInvalid, evaluate, fairness, privacy, utility
from evaluator.inputs import check_inputs
from evaluator.report_card import tidy_value
from evaluator.suite import Step, run_steps
from policies.gate import gate
from policies.gate_rule import GateRule
from policies.metric_catalogue import lookup
from policies.metrics import MetricResult


def ok(value, **extra):
    return MetricResult(value=value, direction="lower", method="test", **extra)


def card_with(metrics):
    rows = {"train": 3, "holdout": 2, "synthetic": 3}
    return ReportCard(dataset="d", rows=rows, seed=1, versions={}, metrics=metrics)


def test_json_round_trip_keeps_the_digest(report):
    again = ReportCard.from_json(json.loads(report.to_bytes()))
    assert again == report
    assert again.digest == report.digest == hashlib.sha256(report.to_bytes()).hexdigest()


def test_the_document_is_the_contracts(report):
    document = report.to_json()
    assert document["schema"] == "ticketgate/report-card/v1"
    assert document["rows"] == {"train": 700, "holdout": 400, "synthetic": 700}
    keys = {"value", "interval", "confidence", "p_value", "n", "direction", "status", "method", "detail"}
    assert all(set(metric) == keys for metric in document["metrics"].values())


def test_every_metric_is_in_the_catalogue_with_its_direction_and_range(report):
    for name, result in report.metrics.items():
        spec = lookup(name)
        assert spec is not None, name
        assert spec.direction == result.direction, name
        if result.value is not None:
            assert spec.low <= result.value <= spec.high, name


def test_every_interval_holds_its_value(report):
    for name, result in report.metrics.items():
        if result.interval is not None and result.value is not None:
            assert result.interval[0] <= result.value <= result.interval[1], name
            assert result.confidence is not None, name


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, object(), {1, 2}])
def test_what_json_does_not_have_is_refused(bad):
    with pytest.raises(ReportCardInvalid):
        tidy_value({"x": [bad]})


def test_numbers_are_cut_to_ten_digits_and_numpy_is_unwrapped():
    assert tidy_value(0.1 + 0.2) == 0.3
    assert tidy_value((np.float64(1 / 3), np.int64(4), np.bool_(True))) == [0.3333333333, 4, True]
    assert str(tidy_value(-0.0)) == "0.0"


def test_an_empty_card_and_a_wild_seed_cannot_exist():
    with pytest.raises(ReportCardInvalid):
        card_with({})
    with pytest.raises(ReportCardInvalid):
        ReportCard(dataset="d", rows={}, seed=2**53, versions={}, metrics={"a": ok(1.0)})


@pytest.mark.parametrize("change", [{"schema": "other/v1"}, {"metrics": None}, {"rows": {"train": 1}}, {"seed": None}])
def test_other_documents_are_refused(report, change):
    with pytest.raises(ReportCardInvalid):
        ReportCard.from_json(report.to_json() | change)


def test_a_nan_in_a_stored_card_is_refused(report):
    document = json.loads(report.to_bytes())
    name = next(name for name, metric in document["metrics"].items() if metric["status"] == "ok")
    document["metrics"][name]["value"] = math.nan
    with pytest.raises(ValueError, match="finite"):
        ReportCard.from_json(document)


def test_a_family_that_breaks_refuses_at_the_gate_and_tells_no_value(tables, dataset_card, caplog):
    inputs = check_inputs(**tables, card=dataset_card, seed=1)

    def breaks(_):
        raise RuntimeError("the salary of Jane Doe is 123456")

    steps = [Step(name="utility.marginals", names=("utility.marginals", "utility.missingness"), run=breaks, cost="")]
    with caplog.at_level(logging.ERROR):
        card = run_steps(inputs, steps)
    result = card.metrics["utility.marginals.ks.worst"]
    assert result.status == "inconclusive"
    assert result.detail["exception"] == "RuntimeError"
    assert "utility.marginals.tv.town" in card.metrics
    text = caplog.text + card.to_bytes().decode()
    assert "RuntimeError" in text
    assert "Jane" not in text
    assert "123456" not in text
    rule = GateRule.model_validate({"metric": "utility.marginals.ks.worst", "max": 0.9, "severity": "warn"})
    verdict = gate(card.metrics, [rule])
    assert not verdict.passed  # a crash is no warning
    assert verdict.rules[0].code == "evaluator-crashed"


def test_a_family_that_yields_a_nan_in_its_detail_is_a_broken_family(tables, dataset_card):
    inputs = check_inputs(**tables, card=dataset_card, seed=1)
    steps = [
        Step(
            name="utility.trend",
            names=("utility.trend",),
            run=lambda _: {"utility.trend": ok(0.1, detail={"x": math.nan})},
            cost="",
        )
    ]
    assert run_steps(inputs, steps).metrics["utility.trend"].status == "inconclusive"


def test_every_catalogue_name_belongs_to_exactly_one_family():
    from policies.metric_catalogue_utility import UTILITY

    families = [*utility.FAMILIES, *fairness.FAMILIES]
    for spec in UTILITY:
        owners = [family.name for family in families if spec.name.startswith(family.names)]
        assert len(owners) == 1, (spec.name, owners)


ASKED_FOR = [
    "utility.marginals.ks.age",
    "utility.marginals.tv.town",
    "utility.marginals.wasserstein.spend",
    "utility.marginals.magnitude.spend",
    "utility.missingness.age",
    "utility.pairs.correlation.worst",
    "utility.pairs.mutual_information.worst",
    "utility.pairs.contingency.worst",
    "utility.pairs.dependence.worst",
    "utility.threeway.worst",
    "utility.autocorrelation.max_abs_diff",
    "utility.seasonality.daily",
    "utility.seasonality.weekly",
    "utility.seasonality.yearly",
    "utility.trend",
    "utility.gaps.ks",
    "utility.unit_rows.ks",
    "utility.validity",
    "utility.constraints",
    "utility.tstr.bought.auc",
    "utility.tstr.bought.f1",
    "utility.tstr.worst.gap",
    "utility.distinguishability.auc",
    "utility.coverage.rare",
    "utility.coverage.range",
    "utility.coverage.least_kept",
    "utility.subgroups.worst.gap",
    "utility.overall",
    "fairness.demographic_parity.town.shift",
    "fairness.equal_opportunity.town.shift",
    "fairness.equalised_odds.town.shift",
    "fairness.representation.town.ratio",
]
EXACT = {"utility.coverage.categories"}


def test_what_was_asked_for_stands_on_the_card(report):
    assert set(ASKED_FOR) <= set(report.metrics)


def test_every_estimate_of_utility_and_fairness_says_how_sure_it_is(report):
    for name, result in report.metrics.items():
        if result.status == "ok" and not name.startswith("privacy.") and name not in EXACT:
            assert result.interval is not None, name
            assert result.confidence == 0.95, name
            assert result.interval[0] <= result.value <= result.interval[1], name
            assert result.n > 0, name


def test_every_family_of_the_plan_is_on_the_card(report):
    planned = {line.split(":", 1)[0] for line in report.plan}
    assert planned == {family.name for family in (*privacy.FAMILIES, *utility.FAMILIES, *fairness.FAMILIES)}
    assert report.notes == ()


def test_a_release_of_some_columns_is_measured_on_those(tables, dataset_card):
    made = tables["synthetic"].select(["age", "town"])
    card = evaluate(**tables | {"synthetic": made}, card=dataset_card, seed=1, columns=["age", "town"])
    assert {name.rsplit(".", 1)[-1] for name in card.metrics if name.startswith("utility.missingness.")} == {
        "age",
        "town",
        "worst",
        "mean",
    }
    assert card.metrics["utility.tstr.worst.gap"].status == "not_applicable"
    assert card.notes == ()


def test_progress_rises_from_zero_to_one(tables, dataset_card):
    inputs = check_inputs(**tables, card=dataset_card, seed=1)
    seen = []
    steps = [Step(name=str(i), names=(), run=lambda _: {"utility.trend": ok(0.5)}, cost="") for i in range(3)]
    run_steps(inputs, steps, progress=lambda name, share: seen.append((name, share)))
    assert [share for _, share in seen] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_no_row_and_no_rare_value_stands_on_the_card(tables, dataset_card):
    import pyarrow as pa

    train = tables["train"].set_column(1, "town", pa.array(["Only-Jane-lives-here", *tables["train"]["town"].to_pylist()[1:]]))
    card = evaluate(**tables | {"train": train}, card=dataset_card, seed=11)
    assert "Only-Jane" not in card.to_bytes().decode()


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_other_threads(report):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from conftest import make_table, make_card\n"
        "from evaluator import evaluate\n"
        "card = evaluate(train=make_table(700, 1), holdout=make_table(400, 2), synthetic=make_table(700, 3), card=make_card(), seed=11)\n"
        "print(card.digest)"
    )
    here = __file__.rsplit("/", 1)[0]
    environment = {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "PATH": "/usr/bin", "PYTHONHASHSEED": "77"}
    ran = subprocess.run(
        [sys.executable, "-c", program, here], env=environment, capture_output=True, text=True, timeout=280, check=True
    )
    assert ran.stdout.strip() == report.digest


def test_another_seed_changes_only_what_is_random(tables, dataset_card, report):
    other = evaluate(**tables, card=dataset_card, seed=12)
    assert other.digest != report.digest
    name = "utility.marginals.ks.spend"
    floor = {"floor": None}
    exact = [replace(card.metrics[name], detail=floor) for card in (report, other)]
    assert exact[0] == exact[1]


def test_the_evaluator_loads_no_torch_and_its_door_no_numerics():
    program = (
        "import sys, evaluator\nassert 'numpy' not in sys.modules and 'sklearn' not in sys.modules\n"
        "import evaluator.suite, evaluator.render\nassert 'torch' not in sys.modules and 'flask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=280)
