"""How many rows a day, a weekday and an hour hold, where one privacy unit owns several rows.

Responsible for the volume profile of a card's time index: counts by day, block of weeks, weekday, hour and weekday × hour are
measured once, and cleaned by what a calendar is known to do: a smooth level times a factor for the weekday.

Counting rows of a unit at full weight would need noise for m rows in one cell. Instead each unit's counts are one vector of
bounded length (√m), so a busy unit weighs less, and the weight that units as a whole should have comes from the histogram
of rows per unit. Rows without a unit are units of their own: they are counted beside the others at sensitivity 1, and since
they are other units, the same ρ pays for both.

Invariants:
    - Every vector is charged before rows are read; its L2 norm per unit is bounded in whole numbers before noise is added.
    - Cleaning reads noisy counts only.
Sources: Leung and Barron 2006 (smoothers of several widths, mixed by their unbiased risks); Louis 1984 and Ghosh 1992
(shrinkage that keeps the variance, so that a cleaned series is not smoother than the true one).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.calendar import WEEK, TimeField
from generator.encoding import conform
from generator.marginal.denoise import nearest_counts, shrink
from generator.noise import discrete_gaussian, samplable_variance
from generator.source import Rows
from generator.zcdp import Account
from policies.card import DatasetCard

__all__ = ["Rhythm", "bounded_counts", "clean_days", "learn_rhythm", "unit_length"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
GRAIN = 16
"""Counts of units are kept in sixteenths of a row."""
BLOCK = 28
BESIDE = 5
HOURS = 24
WIDTHS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e9)
SHARES: Mapping[str, Fraction] = {
    "day": Fraction(56, 100), "block": Fraction(5, 100), "weekday": Fraction(5, 100), "hour": Fraction(14, 100),
    "weekday and hour": Fraction(20, 100),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Shares of rows, each summing to 1.

    Attributes:
        days: By cell of the day variable, the missing one last where there is one.
        week: By weekday and hour, shape (7, 24), a missing time counting as the first of both; None for dates.
    """

    days: Floats
    week: Floats | None


@dataclass(frozen=True, slots=True)
class _Noisy:
    """Noisy counts of one resolution, in rows, and the deviation of their noise."""

    counts: Floats
    sigma: float


def unit_length(rows_per_unit: int) -> int:
    """The L2 norm that the counts of one unit may have, in rows."""
    return math.isqrt(max(rows_per_unit, 1) - 1) + 1


def bounded_counts(units: Integers, cells: Integers, *, size: int, length: int) -> Integers:
    """Counts by cell in sixteenths of a row, in which the vector of each unit has an L2 norm of at most `length` rows.

    Args:
        units: Whose row it is.
        cells: The cell of each row, in [0, size).
        size: How many cells.
        length: Most norm of one unit's vector, in rows.
    """
    if not units.size:
        return np.zeros(size, np.int64)
    pairs, counts = np.unique(units * size + cells, return_counts=True)
    owner, cell = pairs // size, pairs % size
    _, owner = np.unique(owner, return_inverse=True)
    norm = np.sqrt(np.bincount(owner, counts.astype(np.float64) ** 2))
    # the hair's breadth keeps rounding errors of the quotient below the whole number that follows
    scale = GRAIN * np.minimum(1.0, length / norm * (1 - 1e-9))
    return np.bincount(cell, np.floor(counts * scale[owner]), size).astype(np.int64)


def learn_rhythm(rows: Rows, *, card: DatasetCard, account: Account, rho: Fraction, field: TimeField, unit_rows: float) -> Rhythm:
    """Measure the profile of the time index.

    Args:
        rows: The rows that count, with their units.
        card: The dataset card, which names a privacy unit and a time index.
        account: What pays.
        rho: What all counts together may cost.
        field: The time index; each of its cells is a day.
        unit_rows: Estimated number of rows that have a unit.
    """
    sizes = _sizes(field)
    total = sum(SHARES[name] for name in sizes)
    noise = {name: _charge(account, name, rho * SHARES[name] / total, card, field, size) for name, size in sizes.items()}
    units = rows.units if rows.units is not None else np.zeros(0, np.int64)
    keyed = units < rows.first_keyless
    codes = _codes(rows, card, field)
    with_unit: dict[str, _Noisy] = {}
    without: dict[str, _Noisy] = {}
    for name, cells in _cells(field, codes).items():
        length, size, variance = unit_length(card.rows_per_unit), sizes[name], noise[name]
        asked = keyed & (cells >= 0)
        with_unit[name] = _noisy(bounded_counts(units[asked], cells[asked], size=size, length=length), variance, GRAIN)
        alone = np.bincount(cells[~keyed & (cells >= 0)], minlength=size).astype(np.int64)
        without[name] = _noisy(alone, variance / (GRAIN * length) ** 2, 1)
    parts = [(_profile(with_unit, field, unit_rows), unit_rows)]
    if card.columns[card.spec.privacy_unit or ""].missing:
        alone_rows = float(max(without["day"].counts.sum(), 0.0))
        parts.append((_profile(without, field, alone_rows), alone_rows))
    return _mixed(parts)


def _charge(account: Account, name: str, rho: Fraction, card: DatasetCard, field: TimeField, size: int) -> Fraction:
    length = unit_length(card.rows_per_unit)
    return account.gaussian(
        f"rows by {name}", columns=(card.spec.privacy_unit or "row", field.name), rho=rho, sensitivity=GRAIN * length,
        cells=size, grain=GRAIN, rows_without_a_unit="counted beside them with the noise of one row",
    )  # fmt: skip


def _sizes(field: TimeField) -> dict[str, int]:
    days = field.grid.size + field.can_miss
    sizes = {"day": days, "block": -(-field.grid.size // BLOCK), "weekday": WEEK}
    return sizes | ({"hour": HOURS, "weekday and hour": WEEK * HOURS} if field.learns_hours else {})


def _codes(rows: Rows, card: DatasetCard, field: TimeField) -> list[Integers]:
    """Day, weekday and hour of each row that counts."""
    column = {field.name: card.columns[field.name]}
    parts = [[np.zeros(0, np.int64)] * len(field.variables)]
    parts += [[codes.astype(np.int64) for codes in field.encode(conform(batch, column))] for batch in rows.batches()]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _cells(field: TimeField, codes: list[Integers]) -> dict[str, Integers]:
    """The cell of each row at each resolution; a missing time counts among the days alone and is -1 elsewhere."""
    found = {"block": codes[0] // BLOCK, "weekday": codes[1]}
    if field.learns_hours:
        found |= {"hour": codes[2], "weekday and hour": codes[1] * HOURS + codes[2]}
    missing = codes[0] >= field.grid.size
    return {"day": codes[0]} | {name: np.where(missing, -1, cells) for name, cells in found.items()}


def _noisy(counts: Integers, variance: Fraction, grain: int) -> _Noisy:
    drawn = samplable_variance(variance)
    return _Noisy((counts + discrete_gaussian(drawn, counts.size)) / grain, float(drawn) ** 0.5 / grain)


def _profile(found: Mapping[str, _Noisy], field: TimeField, rows: float) -> Rhythm:
    day = found["day"]
    body, season = field.grid.size, field.weekdays()
    block = np.arange(body) // BLOCK
    pooled = _pooled(_pooled(day.counts[:body], day.sigma, block, found["block"]), day.sigma, season, found["weekday"])
    clean = clean_days(pooled, sigma=day.sigma, weekday=season, rows=rows)
    missing = np.maximum(day.counts[body:], 0.0)
    held = max(float(pooled.sum()), 1.0)
    days = np.append(_shares(clean) * held, missing)
    if not field.learns_hours:
        return Rhythm(days / days.sum(), None)
    week = _week(np.asarray(np.bincount(season, _shares(clean), WEEK), float), found["hour"], found["weekday and hour"])
    shares = days / days.sum()
    week *= shares[:body].sum()
    week[0, 0] += shares[body:].sum()
    return Rhythm(shares, week)


def _pooled(fine: Floats, sigma: float, groups: Integers, coarse: _Noisy) -> Floats:
    """Fine counts moved so that groups hold what both measurements together say, each weighed by its noise."""
    size = np.bincount(groups)
    held = np.bincount(groups, fine)
    # units that were cut at the coarse resolution are cut further than at the fine one: only shares compare
    known = coarse.counts[: len(size)]
    factor = max(float(held.sum()), 1.0) / max(float(known.sum()), 1.0)
    weight, other = 1 / (coarse.sigma * factor) ** 2, 1 / (size * sigma**2)
    both = (known * factor * weight + held * other) / (weight + other)
    return np.asarray(fine + ((both - held) / size)[groups])


def clean_days(counts: Floats, *, sigma: float, weekday: Integers, rows: float) -> Floats:
    """Plausible counts of days: level × weekday, and as much of what single days add as makes up the variance of true counts.

    Args:
        counts: Noisy counts.
        sigma: Standard deviation of their noise.
        weekday: The weekday of each day.
        rows: How many rows the days hold in truth, counts of units being weighed: days of independent units vary at least as
            much as chance does.
    """
    fits = [_seasonal(counts, weekday, width) for width in WIDTHS]
    risks = np.array([float(np.square(counts - fit).sum() + 2 * sigma**2 * freedom) for fit, freedom in fits])
    weights = np.exp(-(risks - risks.min()) / (4 * sigma**2))
    weights /= weights.sum()
    fit = np.sum([weight * one for weight, (one, _) in zip(weights, fits, strict=True)], axis=0)
    freedom = float(sum(weight * one for weight, (_, one) in zip(weights, fits, strict=True)))
    rest = counts - fit
    common = _common(rest, fit)
    square = float((fit**2).sum()) or 1.0
    lost = min((freedom + BESIDE) / counts.size, 0.9)
    chance = float(fit.sum()) / max(rows, 1.0) * fit
    spread = (float(((rest - common) ** 2).sum()) / (1 - lost) - counts.size * sigma**2) / square
    doubt = sigma**2 * (2 * counts.size) ** 0.5 / square
    own = np.maximum(chance, (spread if spread > doubt else 0.0) * fit**2)
    # where noise is low, days are what they are: nothing is taken off them and nothing is scaled
    noise = sigma**2 / np.maximum(own + sigma**2, 1e-12)
    gain = np.minimum(np.sqrt((1 - noise) / (1 - lost)), 1.0)
    return np.asarray(np.maximum(fit + gain * (rest - noise * common), 0.0))


def _common(rest: Floats, fit: Floats) -> Floats:
    """What single days have in common with the fit, or with the fit of days and weeks beside them: of noise, chance alone."""
    beside = np.stack([np.roll(fit, lag) for lag in (-WEEK, -1, 0, 1, WEEK)], axis=1)
    return np.asarray(beside @ np.linalg.lstsq(beside, rest, rcond=None)[0])


def _seasonal(counts: Floats, weekday: Integers, width: float) -> tuple[Floats, float]:
    """Level × weekday by alternating least squares; the level is a kernel smoother. Also its degrees of freedom."""
    place = np.arange(counts.size)
    kernel = np.exp(-0.5 * ((place[:, None] - place[None, :]) / width) ** 2) if counts.size <= 2048 else None  # noqa: PLR2004
    factor, level = np.ones(WEEK), np.full(counts.size, max(float(counts.mean()), 0.0))
    bottom = level
    for _ in range(6):
        factor = np.bincount(weekday, counts * level, WEEK) / np.maximum(np.bincount(weekday, level**2, WEEK), 1e-12)
        factor = np.maximum(factor, 0.0)
        factor *= WEEK / max(float(factor.sum()), 1e-12)
        each = factor[weekday]
        top, bottom = _smoothed(counts * each, kernel, width), np.maximum(_smoothed(each**2, kernel, width), 1e-12)
        level = np.maximum(top / bottom, 0.0)
    return level * factor[weekday], float((factor[weekday] ** 2 / bottom).sum()) + WEEK - 1


def _smoothed(values: Floats, kernel: Floats | None, width: float) -> Floats:
    if kernel is not None:
        return np.asarray(kernel @ values)
    reach = int(min(4 * width, values.size - 1))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.asarray(np.convolve(values, weights, mode="full")[reach : reach + values.size])


def _week(weekday: Floats, hour: _Noisy, both: _Noisy) -> Floats:
    """P(weekday, hour): hours that depend on the weekday as far as the noise lets one see it."""
    table = both.counts.reshape(WEEK, HOURS)
    total = max(float(table.sum()), 1.0)
    pooled = _pooled(both.counts, both.sigma, np.tile(np.arange(HOURS), WEEK), hour).reshape(WEEK, HOURS)
    hours = nearest_counts(pooled.sum(axis=0), total)
    days = weekday * total
    best = shrink(pooled, sigma=both.sigma, predicted=np.outer(days, hours) / total, total=total)
    for _ in range(20):
        best = best * (days / np.maximum(best.sum(axis=1), 1e-12))[:, None]
        best = best * (hours / np.maximum(best.sum(axis=0), 1e-12))[None, :]
    best = best * (days / np.maximum(best.sum(axis=1), 1e-12))[:, None]
    return _shares(best)


def _shares(counts: Floats) -> Floats:
    """Counts that are not negative as shares; even shares where nothing is left of them."""
    total = float(counts.sum())
    return counts / total if total > 0 else np.full(counts.shape, 1 / counts.size)


def _mixed(parts: list[tuple[Rhythm, float]]) -> Rhythm:
    """Profiles of rows with and without a unit, in the numbers in which they occur."""
    total = sum(rows for _, rows in parts)
    shares = [rows / total if total > 0 else 1 / len(parts) for _, rows in parts]
    days = sum((part.days * share for (part, _), share in zip(parts, shares, strict=True)), np.zeros_like(parts[0][0].days))
    weeks = [part.week * share for (part, _), share in zip(parts, shares, strict=True) if part.week is not None]
    return Rhythm(_shares(days), _shares(np.sum(weeks, axis=0)) if weeks else None)
