from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.base import GeneratorError
from generator.marginal.junction import JunctionTree
from generator.marginal.model import Model, margin
from generator.marginal.pairs import all_pairs
from generator.marginal.sampling import sample_codes

SIZES = (3, 2, 4, 2, 3, 2)


def is_junction_tree(walks, count):
    for variable in range(count):
        holding = [k for k, walk in enumerate(walks) if variable in walk.clique]
        roots = [k for k in holding if walks[k].parent is None or variable not in walks[walks[k].parent].clique]
        if len(roots) != 1:
            return False
    return all(w.parent is None or set(w.separator) == set(w.clique) & set(walks[w.parent].clique) for w in walks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5), min_size=2, max_size=3), max_size=8))
def test_every_growth_keeps_a_junction_tree_that_holds_its_groups(groups):
    tree = JunctionTree(SIZES)
    for group in groups:
        foreseen = tree.cost(frozenset(group))
        before = {walk.clique for walk in tree.walk()}
        tree.join(frozenset(group))
        new = {walk.clique for walk in tree.walk()} - before
        assert foreseen >= max((int(np.prod([SIZES[i] for i in c])) for c in new), default=0)
    assert all(tree.holds(frozenset(group)) for group in groups)
    assert is_junction_tree(tree.walk(), 6)
    cliques = [set(walk.clique) for walk in tree.copy().walk()]
    for pair in combinations(range(6), 2):
        assert tree.holds(frozenset(pair)) == any(set(pair) <= clique for clique in cliques)
        assert (tree.cost(frozenset(pair)) == 0) == tree.holds(frozenset(pair))


@pytest.fixture
def truth():
    rng = np.random.default_rng(3)
    table = rng.random(SIZES) ** 3
    return table / table.sum()


def fitted(truth, groups, masks=None):
    tree = JunctionTree(SIZES)
    for group in groups:
        tree.join(frozenset(group))
    ones = [margin(truth, range(6), (v,)) for v in range(6)]
    model = Model(tree, ones, masks or {}, None)
    model.fit([(g, margin(truth, range(6), g)) for g in groups], sweeps=200, tolerance=1e-10)
    return model


def joint(model):
    """The whole distribution, by brute force."""
    table = np.ones(SIZES)
    for walk, clique in zip(model.walks, model.tables, strict=True):
        shape = [SIZES[v] if v in walk.clique else 1 for v in range(6)]
        table = table * clique.reshape(shape)
        if walk.separator:
            sep = margin(clique, walk.clique, walk.separator)
            table = table / sep.reshape([SIZES[v] if v in walk.separator else 1 for v in range(6)])
    return table


@pytest.mark.parametrize("groups", [[(0, 1), (1, 2)], [(0, 1), (1, 2), (0, 2)], [(0, 1, 2), (2, 3), (3, 4), (0, 4)], [(0, 5)]])
def test_the_model_has_the_marginals_it_was_fitted_to_and_all_pairs_are_exact(truth, groups):
    model = fitted(truth, groups)
    whole = joint(model)
    assert whole.sum() == pytest.approx(1)
    for group in groups:
        assert margin(whole, range(6), group) == pytest.approx(margin(truth, range(6), group), abs=1e-6)
    pairs = all_pairs(model, 6)
    for pair in combinations(range(6), 2):
        assert pairs[pair] == pytest.approx(margin(whole, range(6), pair), abs=1e-9)


def test_samples_have_the_marginals_and_never_a_masked_pair(truth):
    mask = np.ones((3, 2))
    mask[2, 1] = 0
    model = fitted(truth, [(0, 1), (1, 2), (2, 3)], {(0, 1): mask})
    codes = sample_codes(model, 20_000, rng=np.random.default_rng(0))
    assert not ((codes[0] == 2) & (codes[1] == 1)).any()
    pair = np.bincount(codes[1] * 4 + codes[2], minlength=8).reshape(2, 4) / 20_000
    assert np.abs(pair - model.pair(1, 2)).sum() < 0.01


def test_conditions_shift_everything_that_depends_on_them(truth):
    model = fitted(truth, [(0, 1), (1, 2), (2, 3)])
    codes = sample_codes(model, 20_000, rng=np.random.default_rng(0), given={3: np.array([0.0, 1.0])})
    whole = joint(model)
    expected = margin(whole, range(6), (0, 3))[:, 1]
    assert set(codes[3].tolist()) == {1}
    assert np.abs(np.bincount(codes[0], minlength=3) / 20_000 - expected / expected.sum()).sum() < 0.02


def test_an_impossible_condition_is_refused(truth):
    with pytest.raises(GeneratorError, match="no row"):
        sample_codes(fitted(truth, [(0, 1)]), 10, rng=np.random.default_rng(0), given={0: np.zeros(3)})
