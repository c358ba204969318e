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
from scipy.stats import binom, poisson

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from policies.metrics import MetricResult

__all__ = ["KINDS", "PII", "is_card", "is_iban", "kinds_in"]

EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
PHONE = re.compile(r"(?<![\w.-])(?<!\d )(?:\+|\(|0|(?=\d{3}[ .-]\d{3}[ .-]\d{4}(?!\d)))[\d()][\d ().-]{6,20}\d(?![\w-]|\.\d)")
SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
BARE_SSN = re.compile(r"\d{9}")
CARD = re.compile(r"(?<![\d-])(?:3[0-9]|[45][0-9]|6[0-9]|2[2-7])\d{2}[ -]?\d{4,6}[ -]?\d{4,5}(?:[ -]?\d{1,7})?(?![\d-])")
IBAN = re.compile(r"\b(?=([A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,10}))", re.IGNORECASE)
IBAN_LENGTH = {
    listed[:2]: int(listed[2:])
    for listed in (  # noqa: SIM905 - eighty short words
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 "
        "LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 "
        "SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
    ).split()
}
"""Characters of an IBAN by country (ISO 13616 registry): words that follow one are no part of it."""
DATE = re.compile(r"(?:\d{1,2}([-./ ])\d{1,2}\1(?:19|20)\d{2}|(?:19|20)\d{2}([-./ ])\d{1,2}\2\d{1,2})(?!\d)")
NUMBER = r"-?(?:0|[1-9]\d{0,2}(?:[ ,]\d{3})+|[1-9]\d*)(?:[.,]\d+)?"
INTERVAL = re.compile(
    rf"\s*[\[(]?\s*{NUMBER}(?:\s+(?:-|–|to)\s+|\s*(?:,|;|\.\.)\s*){NUMBER}\s*[\])]?\s*|\s*[\[(]?\d+\.\d+\s*[-–]\s*\d+\.\d+[\])]?\s*"
)
ADDRESS = re.compile(r"\s*(?:(?:[01]?\d{1,2}|2[0-4]\d|25[0-5])\.){3}(?:[01]?\d{1,2}|2[0-4]\d|25[0-5])\s*")
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
"""From so many card-shaped values in a column on, most must hold their check digit for any to count; of bare numbers always."""
KINDS: tuple[str, ...] = ("email", "phone", "ssn", "card", "iban", "names", "identifiers")
METHOD = "scan of every distinct text of the synthetic table; count of cells"
REUSE_ALPHA = 1e-6
NUMBERED = re.compile(r"(.*?)(\d{1,15})", re.DOTALL)


def is_card(text: str) -> bool:
    """Whether the digits of a text are a payment card number: length and Luhn digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    if len(digits) not in CARD_DIGITS or len(set(digits)) == 1:
        return False
    doubled = [d if k % 2 == 0 else d * 2 - 9 * (d > 4) for k, d in enumerate(reversed(digits))]  # noqa: PLR2004 - Luhn
    return sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN: length and check digits (ISO 13616, ISO 7064 MOD 97-10), in capitals or not."""
    compact = text.replace(" ", "").upper()
    if len(compact) != IBAN_LENGTH.get(compact[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _iban(text: str) -> bool:
    candidates = (match.group(1).replace(" ", "") for match in IBAN.finditer(text))
    return any(is_iban(candidate[: IBAN_LENGTH.get(candidate[:2].upper(), 0)]) for candidate in candidates)


def _phone(text: str) -> bool:
    if INTERVAL.fullmatch(text) or ADDRESS.fullmatch(text):
        return False
    candidates = [match.group() for match in PHONE.finditer(text)]
    return any(_digits(c) in PHONE_DIGITS and _grouped(c) and not _otherwise(c) for c in candidates)


def _otherwise(candidate: str) -> bool:
    """A date, an SSN, or a number filled up with zeros: no telephone number begins with three."""
    return bool(SSN.search(candidate) or DATE.match(candidate) or re.match(r"\D*000", candidate))


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
        "iban": [_iban(text) for text in texts],
        "card": _cards(texts, least=1 if all(text.lstrip("-").isdigit() for text in texts) else SHAPED),
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


def _cards(texts: Sequence[str], *, least: int) -> list[bool]:
    """Which texts hold a card number; none in a column of `least` card-shaped numbers of which most miss their check digit."""
    shaped = [[match.group() for match in CARD.finditer(text)] for text in texts]
    valid = [any(is_card(candidate) for candidate in candidates) for candidates in shaped]
    count = sum(1 for candidates in shaped if candidates)
    if count >= least and 2 * sum(valid) < count:
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
    """Distinct texts of the synthetic table by column, with how many rows have each.

    Whole numbers are looked at where the column is named for telephones or SSNs, or holds one as long as a card number.
    """
    scanned = []
    for name, column in inputs.columns.items():
        if column.type not in ("category", "text") and not (column.type == "integer" and _looked_at(inputs, name)):
            continue
        codes = inputs.synthetic.codes(name)
        count = np.bincount(codes[codes >= 0], minlength=len(inputs.domain(name)))
        present = np.flatnonzero(count)
        domain: Any = inputs.domain(name)
        distinct = domain.take(pa.array(present))
        texts = pc.cast(distinct, pa.string()).to_pylist()
        scanned.append((name, texts, count[present]))
    return scanned


def _looked_at(inputs: Inputs, name: str) -> bool:
    if PHONE_COLUMN.search(name) or SSN_COLUMN.search(name):
        return True
    values = inputs.synthetic.numeric(name)
    return bool((values >= 10 ** (CARD_DIGITS.start - 1)).any())


def _reused(inputs: Inputs) -> MetricResult:
    """Synthetic keys that are keys of train, where chance does not explain them."""
    method = (
        "keys of train among synthetic keys; chance by how densely numbered keys lie, and by keys of the holdout that are met"
    )
    hits, where, met = 0, {}, {}
    for name, keys in inputs.synthetic.keys.items():
        if name not in inputs.train.keys or name not in inputs.holdout.keys:
            continue
        mine, theirs = (_distinct(table.keys[name]) for table in (inputs.train, inputs.holdout))
        both = _distinct(keys)
        in_train, in_holdout = len(both & mine), len(both & theirs)
        met[name] = [in_train, in_holdout]
        if in_train and not _by_chance(both, mine, theirs):
            hits += in_train
            where[name] = in_train
    detail = {"columns": where, "met_in_train_and_holdout": met}
    return MetricResult(value=float(hits), n=inputs.synthetic.rows, direction="lower", method=method, detail=detail)


def _by_chance(keys: set[str], mine: set[str], theirs: set[str]) -> bool:
    """Whether keys made without a look at train may well be so many keys of train.

    Keys that are numbers in a row meet those of train whoever makes them: as many as lie in the stretch that the synthetic keys
    span. Of other keys (random numbers, UUIDs, names) one alone is no accident, unless keys of the holdout, which nobody
    saw, are met as readily.
    """
    in_train, in_holdout = len(keys & mine), len(keys & theirs)
    share = len(mine) / (len(mine) + len(theirs))
    if float(binom.sf(in_train - 1, in_train + in_holdout, share)) < REUSE_ALPHA:
        return False
    if in_holdout:
        return True
    made, real = _numbers_of(keys, like=min(mine)), _numbers_of(mine, like=min(mine))
    if 2 * len(made) < len(keys) or 2 * len(real) < len(mine):
        return False
    low, high = float(made.min()), float(made.max())
    expected = len(made) * int(((real >= low) & (real <= high)).sum()) / (high - low + 1)
    return float(poisson.sf(in_train - 1, expected)) >= REUSE_ALPHA


def _numbers_of(keys: set[str], *, like: str) -> npt.NDArray[np.float64]:
    """The numbers at the end of those keys that begin like a given one."""
    shape = NUMBERED.fullmatch(like)
    found = [NUMBERED.fullmatch(key) for key in keys] if shape else []
    return np.array([int(match.group(2)) for match in found if match and shape and match.group(1) == shape.group(1)], np.float64)


def _distinct(keys: pa.Array[Any]) -> set[str]:
    return {key for key in keys.unique().to_pylist() if key is not None}


PII = Family(name="privacy.pii", names=("privacy.pii",), run=_pii, cost="one scan of every distinct text")
