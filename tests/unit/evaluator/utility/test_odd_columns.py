"""Columns without a value, or with one: every utility and fairness family measures what there is and breaks on nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evaluator.fairness import FAMILIES as FAIRNESS
from evaluator.inputs import check_inputs
from evaluator.suite import Step, run_steps
from evaluator.utility import FAMILIES as UTILITY
from evaluator.utility.features import telling
from policies.card import DatasetCard

KINDS = {"number": pa.float64(), "integer": pa.int64(), "date": pa.date32(), "datetime": pa.timestamp("us"), "text": pa.string()}
N = 200


def report(kind: str, empty: tuple[str, ...], *, rows: int = N, alone: bool = False, value: object = None):
    """A table whose column `c` has no value (or a single one) in some of train, holdout and synthetic."""
    rng = np.random.default_rng(0)

    def made(side: str) -> pa.Table:
        full = pa.array(rng.integers(0, 9, rows)).cast(pa.int32()).cast(KINDS[kind] if kind != "datetime" else pa.int32())
        column = (
            pa.array([value] * rows, KINDS[kind])
            if side in empty
            else full.cast(pa.int64()).cast(KINDS[kind])
            if kind == "datetime"
            else full
        )
        columns = {} if alone else {"x": rng.standard_normal(rows)}
        return pa.table({**columns, "c": column, "y": rng.choice(["a", "b"], rows).tolist()})

    roles = {"x": {"type": "number"}, "c": {"type": kind}, "y": {"type": "category", "role": "sensitive"}}
    if alone:
        del roles["x"]
    card = DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "odd"},
            "spec": {
                "source": "odd.csv",
                "columns": roles,
                "targets": ["y", "c"] if kind != "text" else ["y"],
                "protected": ["y"],
            },
        }
    )
    sides = {side: made(side) for side in ("train", "holdout", "synthetic")}
    steps = [Step(name=f.name, names=f.names, run=f.run, cost=f.cost) for f in (*UTILITY, *FAIRNESS)]
    return run_steps(check_inputs(**sides, card=card, seed=0), steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [("train", "holdout", "synthetic"), ("synthetic",), ("train", "holdout")], ids="+".join)
def test_a_column_without_a_value_breaks_no_family(kind: str, empty: tuple[str, ...]) -> None:
    assert report(kind, empty).notes == ()


def test_a_table_whose_only_feature_is_empty_breaks_no_family() -> None:
    assert report("number", ("train", "holdout", "synthetic"), alone=True).notes == ()
    assert report("number", ("synthetic",), alone=True).notes == ()


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_a_constant_too_large_for_ten_bins_breaks_no_family(rows: int) -> None:
    assert report("integer", ("train", "holdout", "synthetic"), rows=rows, value=2**61).notes == ()


def test_only_columns_that_differ_tell_anything() -> None:
    gone = np.nan
    matrix = np.array([[1.0, gone, 5.0, gone], [2.0, gone, 5.0, 5.0], [2.0, gone, 5.0, 5.0]])
    assert telling(matrix).tolist() == [True, False, False, False]
