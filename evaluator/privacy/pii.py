"""Direct identifiers in the output: e-mail, telephone, SSN, payment card, IBAN, personal names, keys of train.

Responsible for `privacy.pii.*`: counts of synthetic cells that hold one. Zero is the line.

Invariants:
    - Only the synthetic table is scanned; no found value is ever reported, only columns and counts.
    - Check digits are checked (Luhn, ISO 7064 for IBAN), and a column of long numbers that pass by chance is no finding.
    - SSN-shaped numbers count whatever their area, 9xx (never issued, or taxpayer numbers) included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binom

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from policies.metrics import MetricResult

__all__ = ["KINDS", "PII", "is_card", "is_iban", "kinds_in"]

EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
PHONE = re.compile(r"(?<![\w.-])(?<!\d )(?:\+|\(|0|(?=\d{3}[ .-]\d{3}[ .-]\d{4}(?!\d)))[\d()][\d ().-]{6,20}\d(?![\w-]|\.\d)")
SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
BARE_SSN = re.compile(r"\d{9}")
CARD = re.compile(r"(?<![\d-])(?:3[0-9]|[45][0-9]|6[0-9]|2[2-7])\d{2}[ -]?\d{4,6}[ -]?\d{4,5}(?:[ -]?\d{1,7})?(?![\d-])")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
NAME_COLUMN = re.compile(
    r"^(?:(?:given|first|last|middle|family|full|maiden|birth|patient|customer|client|person|holder|contact|user)[ _.-]*names?"
    r"|surname|forename|maiden|first|last|middle|name)$",
    re.IGNORECASE,
)
PHONE_COLUMN = re.compile(r"phone|mobile|\btel\b|fax", re.IGNORECASE)
SSN_COLUMN = re.compile(r"\bssn\b|social.?security", re.IGNORECASE)
PHONE_DIGITS = range(9, 16)
CARD_DIGITS = range(13, 20)
SHAPED = 20
"""From so many card-shaped values in a column on, most must hold their check digit for any to count."""
KINDS: tuple[str, ...] = ("email", "phone", "ssn", "card", "iban", "names", "identifiers")
METHOD = "scan of every distinct text of the synthetic table; count of cells"
REUSE_ALPHA = 1e-6


def is_card(text: str) -> bool:
    """Whether the digits of a text are a payment card number: length and Luhn digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    if len(digits) not in CARD_DIGITS or len(set(digits)) == 1:
        return False
    doubled = [d if k % 2 == 0 else d * 2 - 9 * (d > 4) for k, d in enumerate(reversed(digits))]  # noqa: PLR2004 - Luhn
    return sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN: length and check digits (ISO 13616, ISO 7064 MOD 97-10)."""
    compact = text.replace(" ", "").upper()
    if not 15 <= len(compact) <= 34:  # noqa: PLR2004 - shortest and longest IBAN
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _phone(text: str) -> bool:
    candidates = [match.group() for match in PHONE.finditer(text)]
    return any(_digits(c) in PHONE_DIGITS and _grouped(c) and not SSN.search(c) for c in candidates)


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


def _grouped(text: str) -> bool:
    """Written as people write telephone numbers: an international prefix, or digits in groups."""
    return text.startswith("+") or len(re.findall(r"\d+", text)) > 1


def kinds_in(column: str, texts: Sequence[str]) -> dict[str, list[bool]]:
    """For each kind, which of a column's distinct texts hold one."""
    found = {
        "email": [EMAIL.search(text) is not None for text in texts],
        "phone": [_phone(text) for text in texts],
        "ssn": [SSN.search(text) is not None for text in texts],
        "iban": [any(is_iban(match.group()) for match in IBAN.finditer(text)) for text in texts],
        "card": _cards(texts),
        "names": [NAME_COLUMN.match(column) is not None and any(c.isalpha() for c in text) for text in texts],
    }
    if SSN_COLUMN.search(column) or any(found["ssn"]):
        found["ssn"] = [hit or BARE_SSN.fullmatch(text) is not None for hit, text in zip(found["ssn"], texts, strict=True)]
    if PHONE_COLUMN.search(column):
        found["phone"] = [hit or _digits(text) in PHONE_DIGITS for hit, text in zip(found["phone"], texts, strict=True)]
    found["phone"] = [
        phone and not card and not iban for phone, card, iban in zip(found["phone"], found["card"], found["iban"], strict=True)
    ]
    return found


def _cards(texts: Sequence[str]) -> list[bool]:
    shaped = [[match.group() for match in CARD.finditer(text)] for text in texts]
    valid = [any(is_card(candidate) for candidate in candidates) for candidates in shaped]
    count = sum(1 for candidates in shaped if candidates)
    if count >= SHAPED and 2 * sum(valid) < count:
        return [False] * len(texts)
    return valid


def _pii(inputs: Inputs, _options: PrivacyOptions) -> dict[str, MetricResult]:
    cells = dict.fromkeys(KINDS[:-1], 0)
    where: dict[str, dict[str, int]] = {kind: {} for kind in cells}
    for name, texts, count in _texts(inputs):
        for kind, hits in kinds_in(name, texts).items():
            total = int(count[np.asarray(hits, dtype=np.bool_)].sum())
            if total:
                cells[kind] += total
                where[kind][name] = total
    results = {
        f"privacy.pii.{kind}": MetricResult(
            value=float(cells[kind]), n=inputs.synthetic.rows, direction="lower", method=METHOD, detail={"columns": where[kind]}
        )
        for kind in cells
    }
    return {**results, "privacy.pii.identifiers": _reused(inputs)}


def _texts(inputs: Inputs) -> list[tuple[str, list[str], npt.NDArray[np.int64]]]:
    """Distinct texts of the synthetic table by column, with how many rows have each. Whole numbers count where named so."""
    scanned = []
    for name, column in inputs.columns.items():
        named = column.type == "integer" and (PHONE_COLUMN.search(name) or SSN_COLUMN.search(name))
        if column.type not in ("category", "text") and not named:
            continue
        codes = inputs.synthetic.codes(name)
        count = np.bincount(codes[codes >= 0], minlength=len(inputs.domain(name)))
        present = np.flatnonzero(count)
        domain: Any = inputs.domain(name)
        distinct = domain.take(pa.array(present))
        texts = pc.cast(distinct, pa.string()).to_pylist()
        scanned.append((name, texts, count[present]))
    return scanned


def _reused(inputs: Inputs) -> MetricResult:
    """Synthetic keys that are keys of train, where chance (keys of the holdout that are hit) does not explain them."""
    method = "keys of train among synthetic keys, against keys of the holdout; binomial test at one in a million"
    hits, where = 0, {}
    for name, keys in inputs.synthetic.keys.items():
        if name not in inputs.train.keys or name not in inputs.holdout.keys:
            continue
        mine, theirs = (_distinct(table.keys[name]) for table in (inputs.train, inputs.holdout))
        both = _distinct(keys)
        in_train, in_holdout = len(both & mine), len(both & theirs)
        chance = len(mine) / max(1, len(mine) + len(theirs))
        if in_train and float(binom.sf(in_train - 1, in_train + in_holdout, chance)) < REUSE_ALPHA:
            hits += in_train
            where[name] = in_train
    return MetricResult(value=float(hits), n=inputs.synthetic.rows, direction="lower", method=method, detail={"columns": where})


def _distinct(keys: pa.Array[Any]) -> set[str]:
    return {key for key in keys.unique().to_pylist() if key is not None}


PII = Family(name="privacy.pii", names=("privacy.pii",), run=_pii, cost="one scan of every distinct text")
