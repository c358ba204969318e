"""Bins of columns that are mostly one value keep what distinguishes the rest."""

import numpy as np
import pytest

from generator.encoding import Variable
from generator.marginal.bins import make_bins


def bins_of(cells, *, most, least):
    variable = Variable("gain", len(cells), is_ordered=True, missing=None)
    return make_bins(variable, cells / cells.sum(), most=most, least=least)


def test_a_heavy_cell_does_not_starve_the_others():
    cells = np.append(91.0, np.full(300, 9 / 300))
    found = bins_of(cells, most=32, least=0.002)
    assert found.of_cell[0] == 0
    assert found.of_cell[1] == 1
    assert 15 <= found.size <= 32


def test_no_bin_holds_less_than_noise():
    cells = np.append(91.0, np.full(300, 9 / 300))
    found = bins_of(cells, most=32, least=0.02)
    assert found.ones().min() >= 0.02 * 0.99
    assert found.size <= 5


@pytest.mark.parametrize("heavy", [0, 3, 40])
def test_there_are_no_more_bins_than_asked_for(heavy):
    cells = np.full(400, 0.1)
    cells[:: 400 // heavy if heavy else 401] += 3
    assert 2 <= bins_of(cells, most=16, least=0.0).size <= 17 + heavy


def test_bins_are_runs_of_cells():
    cells = np.random.default_rng(0).random(200) ** 8
    found = bins_of(cells, most=20, least=0.001)
    assert (np.diff(found.of_cell) >= 0).all()
    assert set(found.of_cell) == set(range(found.size))
