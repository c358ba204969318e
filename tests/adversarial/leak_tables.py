"""Real tables that leaks are planted in, with cards, and how they are split.

Rows stay in memory; nothing of them is written. The tables lie in the folder beside the checkout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from policies.card import DatasetCard

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Rng = np.random.Generator
MOST_PER_UNIT = 100


@dataclass(frozen=True)
class Subject:
    """A real table, its card, and how many rows train, holdout and synthetic get each (or different `sizes` of the three)."""

    name: str
    table: pa.Table
    card: DatasetCard
    rows: int
    sizes: tuple[int, int, int] | None = None

    def split(self, rng: Rng) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Three disjoint random parts: by privacy unit where the card has one."""
        unit = self.card.spec.privacy_unit
        ends = np.cumsum(self.sizes or (self.rows,) * 3)
        if unit is None:
            order = rng.permutation(self.table.num_rows)
            return tuple(self.table.take(pa.array(order[low:high])) for low, high in pairwise((0, *ends)))
        codes = self.table.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
        place = rng.permutation(int(codes.max()) + 1)[codes]
        bounds = np.searchsorted(np.cumsum(np.bincount(place)), ends)
        edges = [0, *(int(bound) + 1 for bound in bounds)]
        return tuple(self.table.take(pa.array(np.flatnonzero((place >= low) & (place < high)))) for low, high in pairwise(edges))


def subject(
    name: str,
    table: pa.Table,
    rows: int,
    *,
    quasi: tuple[str, ...],
    sensitive: tuple[str, ...],
    unit: str | None = None,
    time: str | None = None,
) -> Subject:
    """A subject with types read off the table; roles as given."""
    columns = {}
    for field in table.schema:
        kind = "number" if pa.types.is_floating(field.type) else "integer" if pa.types.is_integer(field.type) else "category"
        kind = "date" if pa.types.is_date(field.type) else "datetime" if pa.types.is_timestamp(field.type) else kind
        role = "quasi-identifier" if field.name in quasi else "sensitive" if field.name in sensitive else "other"
        columns[field.name] = {"type": "id", "role": "identifier"} if field.name == unit else {"type": kind, "role": role}
    spec = {"source": "x", "columns": columns} | ({} if time is None else {"time_index": time})
    if unit is not None:
        spec |= {"privacy_unit": unit, "max_rows_per_unit": MOST_PER_UNIT}
    card = DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": name}, "spec": spec}
    )
    return Subject(name, table, card, rows)


def subjects() -> Iterator[Subject]:
    """Adult with and without its near-unique column, hourly counts, hospital stays by patient, a web shop by customer."""
    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    adult = pyarrow.csv.read_csv(DATA / "adult.csv", convert_options=text)
    quasi = ("age", "sex", "race", "marital_status", "native_country")
    yield subject("adult", adult, 16_000, quasi=quasi, sensitive=("income",))
    yield subject("adult-plain", adult.drop_columns(["fnlwgt"]), 16_000, quasi=quasi, sensitive=("income",))
    bike = pyarrow.csv.read_csv(DATA / "bike_hour.csv").drop_columns(["instant"])
    yield subject("bike-hour", bike, 5_700, quasi=("dteday", "hr", "weathersit"), sensitive=("casual",), time="dteday")
    stays = pyarrow.parquet.read_table(DATA / "diabetes130.parquet").drop_columns(["encounter_id"])
    yield subject(
        "hospital-stays",
        stays,
        16_000,
        quasi=("race", "gender", "age", "medical_specialty"),
        sensitive=("diag_1", "readmitted"),
        unit="patient_nbr",
    )
    shop = pyarrow.parquet.read_table(DATA / "online_retail.parquet")
    shop = shop.filter(shop["CustomerID"].is_valid()).select(
        ["CustomerID", "InvoiceDate", "StockCode", "Quantity", "UnitPrice", "Country"]
    )
    _, customer = np.unique(shop["CustomerID"].to_numpy(), return_inverse=True)
    order = np.argsort(customer, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(customer[order], customer[order])
    shop = shop.filter(pa.array(place < MOST_PER_UNIT))
    yield subject("web-shop", shop, 16_000, quasi=("Country",), sensitive=("StockCode",), unit="CustomerID", time="InvoiceDate")
    rows = shop.drop_columns(["CustomerID"])  # sales as a shop counts them: for distortions, not for leaks
    yield subject("web-shop-rows", rows, 16_000, quasi=("Country",), sensitive=("StockCode",), time="InvoiceDate")


def shaped_subjects() -> Iterator[Subject]:
    """Adult as a gateway meets it: four fifths train and one fifth holdout, or half each, and a request of 5,000 rows."""
    for one in subjects():
        if one.name in ("adult", "adult-plain"):
            yield replace(one, name=f"{one.name} 80/20", sizes=(20_000, 5_000, 5_000))
            yield replace(one, name=f"{one.name} 50/50", sizes=(12_500, 12_500, 5_000))


def smaller_subjects() -> Iterator[Subject]:
    """Tables that no metric was tuned on: artificial patients, heart patients, counts by day."""
    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    patients = pyarrow.csv.read_csv(DATA / "synthea_patients.csv", convert_options=text)
    patients = patients.select(
        ["BIRTHDATE", "MARITAL", "RACE", "ETHNICITY", "GENDER", "COUNTY", "HEALTHCARE_EXPENSES", "HEALTHCARE_COVERAGE", "INCOME"]
    )
    yield subject("patients", patients, 380, quasi=("BIRTHDATE", "RACE", "GENDER", "COUNTY"), sensitive=("INCOME",))
    heart = pyarrow.csv.read_csv(DATA / "heart_cleveland.csv", convert_options=text)
    yield subject("heart", heart, 100, quasi=("age", "sex"), sensitive=("num",))
    days = pyarrow.csv.read_csv(DATA / "bike_day.csv").drop_columns(["instant"])
    yield subject("bike-day", days, 240, quasi=("dteday", "weathersit"), sensitive=("casual",), time="dteday")
