"""Leaks and distortions that are planted in fresh rows: each takes a scene and returns the table a bad generator would write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from policies.card import DatasetCard
from tests.adversarial.leak_tables import Rng, Subject


@dataclass(frozen=True)
class Scene:
    """What a plant is made from."""

    train: pa.Table
    holdout: pa.Table
    fresh: pa.Table
    card: DatasetCard
    rng: Rng

    @property
    def learnt(self) -> tuple[str, ...]:
        return tuple(self.card.learnt)

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.card.learnt.items() if column.is_numeric)

    def victims(self, share: float, table: pa.Table | None = None) -> pa.Table:
        """Rows of train (or of another table), a share of the synthetic table in number."""
        chosen = self.train if table is None else table
        n = round(share * self.fresh.num_rows)
        return chosen.take(pa.array(self.rng.choice(chosen.num_rows, n, replace=n > chosen.num_rows)))

    def among(self, planted: pa.Table) -> pa.Table:
        """The planted rows among fresh ones, in random order."""
        mixed = pa.concat_tables(
            [self.fresh.slice(planted.num_rows), planted.select(self.fresh.column_names).cast(self.fresh.schema)]
        )
        return mixed.take(pa.array(self.rng.permutation(mixed.num_rows)))


def jitter(table: pa.Table, name: str, width: float, rng: Rng, *, rounded: bool = False) -> pa.Table:
    """Add uniform noise of so many standard deviations to a numeric column; whole numbers stay whole.

    They change by one at least, which is much for a season or a flag, unless the noise is `rounded`.
    """
    field = table.schema.field(name)
    values = table.column(name).to_numpy(zero_copy_only=False).astype(float)
    noise = rng.uniform(-1, 1, len(values)) * width * np.nanstd(values)
    if pa.types.is_integer(field.type):
        noise = np.rint(noise) if rounded else np.sign(noise) * np.ceil(np.abs(noise))
    moved = values + noise
    array = pa.array(moved, from_pandas=True)
    array = array.cast(field.type, safe=False) if pa.types.is_integer(field.type) else array
    return table.set_column(table.schema.get_field_index(name), field, array)


def resampled(table: pa.Table, names: tuple[str, ...], source: pa.Table, rng: Rng) -> pa.Table:
    """Replace columns by random values of a source."""
    for name in names:
        values = source.column(name).take(pa.array(rng.integers(0, source.num_rows, table.num_rows)))
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table


def copies(share: float) -> Callable[[Scene], pa.Table]:
    return lambda scene: scene.among(scene.victims(share))


def jittered(share: float) -> Callable[[Scene], pa.Table]:
    return lambda scene: scene.among(jitter(scene.victims(share), str(scene.rng.choice(scene.numbers)), 0.1, scene.rng))


def all_jittered(share: float) -> Callable[[Scene], pa.Table]:
    """No number of a copied row is left as it was; its categories are."""

    def plant(scene: Scene) -> pa.Table:
        table = scene.victims(share)
        for name in scene.numbers:
            table = jitter(table, name, 0.1, scene.rng)
        return scene.among(table)

    return plant


def two_resampled(share: float) -> Callable[[Scene], pa.Table]:
    def plant(scene: Scene) -> pa.Table:
        names = tuple(str(name) for name in scene.rng.choice(scene.learnt, 2, replace=False))
        return scene.among(resampled(scene.victims(share), names, scene.fresh, scene.rng))

    return plant


def secret_swapped(scene: Scene) -> pa.Table:
    victims = scene.victims(0.05)
    return scene.among(resampled(victims, scene.card.with_role("sensitive"), victims, scene.rng))


def outliers_only(scene: Scene) -> pa.Table:
    """The hundredth of train with the rarest values, copied."""
    surprise = np.zeros(scene.train.num_rows)
    for name in scene.learnt:
        codes = scene.train.column(name).combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy() + 1
        surprise -= np.log(np.bincount(codes)[codes])
    return scene.among(scene.train.take(pa.array(np.argsort(-surprise)[: round(0.01 * scene.fresh.num_rows)])))


def raw_bootstrap(scene: Scene) -> pa.Table:
    return resampled(scene.fresh, scene.learnt, scene.train, scene.rng)


def units_shuffled(scene: Scene) -> pa.Table:
    """All rows of some units of train, each column shuffled within the unit."""
    unit = scene.card.spec.privacy_unit
    if unit is None:
        return scene.among(scene.victims(0.05))
    codes = scene.train.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
    order = scene.rng.permutation(int(codes.max()) + 1)[codes]
    chosen = scene.train.take(pa.array(np.argsort(order, kind="stable")[: round(0.05 * scene.fresh.num_rows)]))
    owner = chosen.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
    for name in scene.learnt:
        within = np.lexsort((scene.rng.random(len(owner)), owner))
        home = np.lexsort((np.arange(len(owner)), owner))
        place = np.empty(len(owner), dtype=np.int64)
        place[home] = within
        chosen = chosen.set_column(chosen.schema.get_field_index(name), name, chosen.column(name).take(pa.array(place)))
    return scene.among(chosen)


def overfitted(scene: Scene) -> pa.Table:
    """A generator that knows 500 rows of train by heart and varies one column of each."""
    known = scene.train.take(pa.array(scene.rng.choice(scene.train.num_rows, 500, replace=False)))
    rows = known.take(pa.array(scene.rng.integers(0, 500, scene.fresh.num_rows)))
    return resampled(rows, (str(scene.rng.choice(scene.learnt)),), scene.fresh, scene.rng)


def noisy_train(*, rounded: bool) -> Callable[[Scene], pa.Table]:
    def plant(scene: Scene) -> pa.Table:
        table = scene.train
        for name in scene.numbers:
            table = jitter(table, name, 0.1, scene.rng, rounded=rounded)
        return table.take(pa.array(scene.rng.permutation(table.num_rows)))

    return plant


PLANTS: dict[str, Callable[[Scene], pa.Table]] = {
    "0.25 % verbatim": copies(0.0025),
    "1 % verbatim": copies(0.01),
    "5 % verbatim": copies(0.05),
    "5 % near, one number jittered": jittered(0.05),
    "20 % near, one number jittered": jittered(0.2),
    "5 % near, every number jittered": all_jittered(0.05),
    "5 % near, two columns resampled": two_resampled(0.05),
    "20 % near, two columns resampled": two_resampled(0.2),
    "5 % with the secret swapped": secret_swapped,
    "1 %, outliers only": outliers_only,
    "columns bootstrapped from raw values": raw_bootstrap,
    "5 %, rows of units shuffled": units_shuffled,
    "over-fitted on 500 rows": overfitted,
    "train plus noise": noisy_train(rounded=False),
    "train plus noise, rounded": noisy_train(rounded=True),
    "train itself": lambda scene: scene.train.take(pa.array(scene.rng.permutation(scene.train.num_rows))),
    "5 % of the holdout copied": lambda scene: scene.among(scene.victims(0.05, scene.holdout)),
}


def scene_of(one: Subject, seed: int) -> Scene:
    """The split of a seed."""
    rng = np.random.default_rng([seed, sum(one.name.encode())])
    return Scene(*one.split(rng), one.card, rng)


# distortions: no leak, but a table that says something else than the real one


def _with(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)


def _moved(table: pa.Table, name: str, days: np.ndarray) -> pa.Table:
    """Every date or time of a column moved by so many days."""
    kind = table.schema.field(name).type
    unit, scale = ("D", 1) if pa.types.is_date(kind) else ("us", 86_400_000_000)
    values = table.column(name).to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]")
    moved = values + (days * scale).astype(f"timedelta64[{unit}]")
    return _with(table, name, pa.array(moved).cast(kind))


def weekday_flattened(scene: Scene, *, date: str) -> pa.Table:
    """Every row moved by up to six days at random: no day of the week stands out any more."""
    return _moved(scene.fresh, date, scene.rng.integers(-3, 4, scene.fresh.num_rows))


def shifted_a_month(scene: Scene, *, date: str) -> pa.Table:
    return _moved(scene.fresh, date, np.full(scene.fresh.num_rows, 30))


def region_dropped(scene: Scene, *, region: tuple[str, str]) -> pa.Table:
    """One value of a column does not occur; its rows are replaced by others."""
    kept = scene.fresh.filter(pa.compute.not_equal(scene.fresh.column(region[0]), region[1]))
    return kept.take(pa.array(scene.rng.integers(0, kept.num_rows, scene.fresh.num_rows)))


def correlation_broken(scene: Scene, *, number: str) -> pa.Table:
    """One column in random order: every distribution of one column stays as it was."""
    return _with(scene.fresh, number, scene.fresh.column(number).take(pa.array(scene.rng.permutation(scene.fresh.num_rows))))


def tenfold(scene: Scene, *, unit: str) -> pa.Table:
    """Pence for pounds."""
    field = scene.fresh.schema.field(unit)
    return _with(scene.fresh, unit, pa.compute.multiply(scene.fresh.column(unit), pa.scalar(10, field.type)))


DISTORTIONS: dict[str, Callable[..., pa.Table]] = {
    "weekday profile flattened": weekday_flattened,
    "one region dropped": region_dropped,
    "a correlation broken": correlation_broken,
    "dates shifted a month": shifted_a_month,
    "units ×10": tenfold,
}
WHERE: dict[str, dict[str, dict[str, Any]]] = {
    "adult": {
        "one region dropped": {"region": ("native_country", "Mexico")},
        "a correlation broken": {"number": "education_num"},
        "units ×10": {"unit": "hours_per_week"},
    },
    "bike-hour": {
        "weekday profile flattened": {"date": "dteday"},
        "a correlation broken": {"number": "atemp"},
        "dates shifted a month": {"date": "dteday"},
        "units ×10": {"unit": "casual"},
    },
    "hospital-stays": {"one region dropped": {"region": ("race", "Hispanic")}},
    "web-shop-rows": {
        "one region dropped": {"region": ("Country", "Germany")},
        "weekday profile flattened": {"date": "InvoiceDate"},
        "a correlation broken": {"number": "UnitPrice"},
        "dates shifted a month": {"date": "InvoiceDate"},
        "units ×10": {"unit": "UnitPrice"},
    },
}
"""Which columns of a table a distortion touches; a table without an entry has nothing to distort that way."""
