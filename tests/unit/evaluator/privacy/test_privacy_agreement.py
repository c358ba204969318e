"""Where SDMetrics measures by the same definition, the numbers are the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sdmetrics.single_table import DCROverfittingProtection, NewRowSynthesis
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

from evaluator.distances import Encoding, nearest
from evaluator.inputs import check_inputs
from evaluator.privacy import PrivacyOptions
from evaluator.privacy.copies import COPIES
from evaluator.privacy.records import RECORDS

NAMES = ["age", "region", "job", "spend", "visits", "ill"]
METADATA = {
    "columns": {
        name: {"sdtype": "numerical" if name in ("age", "spend", "visits") else "boolean" if name == "ill" else "categorical"}
        for name in NAMES
    }
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def _within(table: pa.Table, name: str, low: float, high: float) -> pa.Table:
    column = pa.array(np.clip(table[name].to_numpy(), low, high), from_pandas=True).cast(table.schema.field(name).type)
    return table.set_column(table.schema.get_field_index(name), name, column)


@pytest.fixture(scope="module")
def three(make_people, make_card):
    """The holdout spans the range of train, because SDMetrics scales by the range of each reference; ours is one scale
    for both, and counts values beyond it as its end; a tenth of synthetic is copied."""
    train, holdout, synthetic = (make_people(n, seed).select(NAMES) for n, seed in ((150, 1), (150, 2), (120, 3)))
    for name in ("age", "spend", "visits"):
        low, high = np.nanmin(train[name].to_numpy()), np.nanmax(train[name].to_numpy())
        holdout, synthetic = (_within(table, name, low, high) for table in (holdout, synthetic))
        ends = pa.chunked_array(
            [pa.array([low, high]).cast(train.schema.field(name).type), holdout[name].slice(2).combine_chunks()]
        )
        holdout = holdout.set_column(holdout.schema.get_field_index(name), name, ends)
    synthetic = pa.concat_tables([synthetic.slice(20), train.slice(0, 20)])
    card = make_card(
        {
            name: column.model_dump(exclude_none=True, exclude={"missing"})
            for name, column in make_card().columns.items()
            if name in NAMES
        }
    )
    inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=0)
    return inputs, *(table.to_pandas() for table in (train, holdout, synthetic))


def test_distance_to_closest_record_is_that_of_sdmetrics(three) -> None:
    inputs, train, _, synthetic = three
    encoding = Encoding.of(inputs)
    ours = nearest(encoding.synthetic, encoding.train, k=1)[0].distance[:, 0]
    theirs = calculate_dcr(synthetic, train, METADATA).to_numpy()
    assert np.abs(ours - theirs).max() < 1.0 / encoding.train.levels  # the grid's rounding, and nothing else


def test_share_closer_to_train_is_that_of_sdmetrics(three) -> None:
    inputs, train, holdout, synthetic = three
    share = RECORDS.run(inputs, PrivacyOptions())["privacy.dcr.share"]
    found = DCROverfittingProtection.compute_breakdown(
        real_training_data=train, synthetic_data=synthetic, real_validation_data=holdout, metadata=METADATA, table_name=None
    )["synthetic_data_percentages"]
    # SDMetrics counts a tie as not closer to train; we count it half
    assert share.value - share.detail["ties"] / 2 == pytest.approx(found["closer_to_training"], abs=0.017)


def test_identical_match_share_is_what_new_row_synthesis_leaves(three) -> None:
    inputs, train, _, synthetic = three
    ours = COPIES.run(inputs, PrivacyOptions())["privacy.copies.identical_share"].value
    frames = [frame.assign(spend=frame["spend"].round(2)) for frame in (train, synthetic)]
    theirs = NewRowSynthesis.compute_breakdown(
        real_data=frames[0], synthetic_data=frames[1], metadata=METADATA, numerical_match_tolerance=1e-9
    )
    assert isinstance(frames[0], pd.DataFrame)
    assert ours == pytest.approx(1 - theirs["score"])
