"""Statistical tests draw from the operating system; each states how rarely an honest sampler fails it."""

from fractions import Fraction

import numpy as np
import pytest

from generator.noise import choose, discrete_gaussian, samplable_variance, uniform_below


def exact(variance, reach):
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-(x**2) / (2 * float(variance)))
    return x, weights / weights.sum()


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(2), Fraction(40)])
def test_the_discrete_gaussian_has_its_probabilities(variance):
    # 6 standard deviations in each of at most 25 cells: fails with probability below 1e-7
    variance = samplable_variance(variance)
    draws = 40_000
    noise = discrete_gaussian(variance, draws)
    for value, probability in zip(*exact(variance, 12), strict=True):
        deviation = abs((noise == value).sum() - draws * probability)
        assert deviation <= 6 * (draws * probability * (1 - probability)) ** 0.5 + 1


def test_large_noise_has_its_variance():
    # relative deviation of the variance of 20,000 draws is 0.01: 5 of them, below 1e-6
    variance = samplable_variance(Fraction(10**9))
    noise = discrete_gaussian(variance, 20_000)
    assert abs(float((noise.astype(float) ** 2).mean()) / float(variance) - 1) < 0.05


@pytest.mark.parametrize("least", [Fraction(1, 7), Fraction(100, 3), Fraction(512**2 + 1), Fraction(10**8, 3)])
def test_a_samplable_variance_is_never_less(least):
    got = samplable_variance(least)
    assert least <= got <= least * Fraction(102, 100) + Fraction(1, 64)


def test_no_variance_is_no_noise_at_all_hence_refused():
    with pytest.raises(ValueError, match="positive"):
        samplable_variance(Fraction(0))


def test_uniform_numbers_stay_below_their_limit():
    drawn = uniform_below(7, 10_000)
    assert set(drawn.tolist()) == set(range(7))


def test_the_exponential_mechanism_has_its_probabilities():
    # three cells of 4,000 draws, 4.9 standard deviations each: below 3e-6
    scores, epsilon = np.array([0, 6, 12]), Fraction(1, 4)
    weights = np.exp(float(epsilon) * scores / 2)
    weights /= weights.sum()
    draws = 4000
    counts = np.bincount([choose(scores, epsilon=epsilon, sensitivity=1) for _ in range(draws)], minlength=3)
    assert (np.abs(counts - draws * weights) <= 4.9 * np.sqrt(draws * weights * (1 - weights))).all()
