"""Find direct identifiers in a source table: by the form and check digits of its values, and by column names.

What is found is told to the steward in counts and kinds; no value leaves this module.

Invariants:
    - A kind is given to a column when four in five of its different values have the form, check digits included where the kind
      has them; single finds inside longer text are counted apart as `embedded`.
    - A finding proposes a role; it never changes a card.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute

__all__ = ["FINDABLE", "Finding", "find_pii", "scan_pii"]

compute: Any = pyarrow.compute
Role = Literal["identifier", "quasi-identifier"]
SAMPLE = 20_000
SHARE = 0.8
KEY_SHARE = 0.01
PROBE = 64
PROBE_LENGTH = 200
LEAST_FOR_UNIQUE = 20
PHONE = (
    r"\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}"
    r"|\(\d{2,5}\) ?\d{3,4}[ .-]\d{3,4}|0\d{1,4}[ -]\d{3,4}[ -]\d{3,5}|\d{3}[ .-]\d{3}[ .-]\d{4}"
)
EMAIL = r"[^\s@,;<>()\"]{1,64}@(?:[\pL\d-]{1,63}\.)+[\pL]{2,24}"
SSN = r"\d{3}-\d{2}-\d{4}"
CARD_DIGITS = r"\d(?:[ -]?\d){12,18}"
IBAN = r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?"
IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"
IPV6 = r"[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}"
STREET = r"\d{1,5}[A-Za-z]? [\pL'.-]+(?: [\pL\d'.#-]+){0,5}"


def _luhn(text: str) -> bool:
    digits = [int(sign) for sign in reversed(re.sub(r"\D", "", text))]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)]
    return sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _nhs(text: str) -> bool:
    digits = [int(sign) for sign in text if sign.isdigit()]
    check = 11 - sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return (0 if check == 11 else check) == digits[9]  # noqa: PLR2004 - the NHS number's own modulus and length


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of personal data looks.

    Attributes:
        pattern: RE2 pattern of a whole value, None when only names tell.
        check: Check digits, on values that have the form.
        names: Words of a column name that tell the kind.
        embedded: Whether it is looked for inside longer text.
    """

    name: str
    role: Role
    pattern: str | None = None
    check: Callable[[str], bool] | None = None
    names: str | None = None
    embedded: str | None = None


KINDS = (
    _Kind("email", "identifier", EMAIL, names=r"e_?mail", embedded=EMAIL),
    _Kind("iban", "identifier", IBAN, _iban, names="iban", embedded=r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b"),
    _Kind("us-ssn", "identifier", SSN, names="ssn|social_security.*", embedded=r"\b\d{3}-\d{2}-\d{4}\b"),
    _Kind("payment-card", "identifier", CARD_DIGITS, _luhn, names="(credit_?|debit_?)?card_?(no|num|number)|pan"),
    _Kind("nhs-number", "identifier", r"\d{3}[ -]?\d{3}[ -]?\d{4}", _nhs, names="nhs.*"),
    _Kind("phone", "identifier", PHONE, names="(tele)?phone.*|mobile.*|fax.*|tel", embedded=r"(?:^|[\s:])(?:" + PHONE + ")"),
    _Kind("ip-address", "identifier", f"{IPV4}|{IPV6}", names="ip|ip_addr.*|.*_ip", embedded=r"\b" + IPV4 + r"\b"),
    _Kind("mac-address", "identifier", r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", names="mac|mac_addr.*"),
    _Kind("uuid", "identifier", r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-f]{32}", names="uuid|guid"),
    _Kind("url", "identifier", r"https?://\S+", names="url|homepage|website"),
    _Kind("address", "identifier", STREET, names="address.*|street.*|addr|.*_address"),
    _Kind(
        "name",
        "identifier",
        names="(first|last|given|family|middle|maiden|full|sur|nick|user|patient|customer|person|employee)_?name|surname|forename"
        "|first|last|middle|maiden|name|lastname|firstname",
    ),
    _Kind("passport", "identifier", names="passport.*"),
    _Kind("driving-licence", "identifier", names="driver.*|driving_licen[cs]e.*|licen[cs]e_plate|plate"),
    _Kind("account", "identifier", names="account(_?(no|num|number|id))?|acct.*"),
    _Kind("medical-record", "identifier", names="mrn|medical_record.*|health_?(no|id|number)|insurance_?(no|id|number)"),
    _Kind("birth-date", "quasi-identifier", names="dob|birth_?date|date_of_birth|birth_?day|born|birth"),
    _Kind("death-date", "quasi-identifier", names="death_?date|date_of_death|dod"),
    _Kind("postal-code", "quasi-identifier", names="zip(_?code)?|post_?code|postal_?code|plz"),
    _Kind("coordinates", "quasi-identifier", names="lat(itude)?|lon(gitude)?|lng"),
    _Kind("place", "quasi-identifier", names="city|town|village|county|birth_?place|municipality|district"),
)
FINDABLE = tuple(kind.name for kind in KINDS)
FREE_TEXT_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found in one column.

    Attributes:
        kind: One of `FINDABLE`, or `key` for a column that names rows or units.
        role: The role that is proposed.
        basis: Whether the values, the name, or both say so.
        share: Share of different values that have the form; None when only the name speaks.
    """

    kind: str
    role: Role
    basis: Literal["values", "name", "both"]
    share: float | None


def find_pii(name: str, column: Any) -> tuple[Finding | None, Mapping[str, int]]:
    """The kind of one column, and how many of its cells hold personal data inside longer text.

    Args:
        name: The column's name.
        column: Its values.
    """
    texts = _texts(column)
    distinct = compute.unique(texts.drop_null())[:SAMPLE]
    word = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    by_values = _by_values(distinct)
    by_name = next((kind for kind in KINDS if kind.names and re.fullmatch(kind.names, word)), None)
    if by_values is not None:
        kind, share = by_values
        basis: Literal["both", "values"] = "both" if by_name is kind else "values"
        return Finding(kind=kind.name, role=kind.role, basis=basis, share=round(share, 3)), {}
    if by_name is not None:
        return Finding(kind=by_name.name, role=by_name.role, basis="name", share=None), _embedded(texts, distinct)
    if (key_share := _key_share(word, column, texts)) is not None:
        return Finding(kind="key", role="identifier", basis="both", share=round(key_share, 3)), {}
    return None, _embedded(texts, distinct)


def _texts(column: Any) -> Any:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(whole.type) or pa.types.is_temporal(whole.type) or pa.types.is_boolean(whole.type):
        return pa.nulls(len(whole), pa.string())
    return compute.utf8_trim_whitespace(compute.cast(whole, pa.string()))


def _by_values(distinct: Any) -> tuple[_Kind, float] | None:
    if not len(distinct):
        return None
    probe = distinct.take(pa.array(range(0, len(distinct), max(1, len(distinct) // PROBE)))).to_pylist()
    for kind in KINDS:
        if kind.pattern is None:
            continue
        if not _is_likely(probe, kind):
            continue
        formed = compute.filter(distinct, compute.match_substring_regex(distinct, pattern=f"^(?:{kind.pattern})$"))
        number = len(formed) if kind.check is None else sum(map(kind.check, formed.to_pylist()))
        if kind.name == "us-ssn" and number:
            # Nine digits without dashes are the same number in a column where the dashed form occurs.
            number += int(compute.sum(compute.match_substring_regex(distinct, pattern=r"^\d{9}$")).as_py() or 0)
        if number >= SHARE * len(distinct) and (kind.check is None or number >= min(5, len(distinct))):
            return kind, number / len(distinct)
    return None


def _key_share(word: str, column: Any, texts: Any) -> float | None:
    """How much of a column that names its rows or units is different; None when it names neither."""
    present = len(column) - column.null_count
    if present < 2 or pa.types.is_floating(column.type):  # noqa: PLR2004 - one row repeats nothing
        return None
    share: float = int(compute.count_distinct(column).as_py()) / present
    if re.fullmatch(r"(.*_)?(id|key|uid|pk|no|nr|nbr|number)", word) and share >= KEY_SHARE:
        return share
    is_unique = (
        present >= LEAST_FOR_UNIQUE
        and share == 1.0
        and (re.fullmatch(r"row|index|instant|seq|sequence|record", word) or pa.types.is_string(column.type))
    )
    return share if is_unique and not _is_prose(texts) else None


def _is_prose(texts: Any) -> bool:
    spaces = compute.mean(compute.cast(compute.count_substring(texts, pattern=" "), pa.float64())).as_py()
    return bool(spaces and spaces > 2)  # noqa: PLR2004 - three words and more


@cache
def _quick_form(kind: _Kind) -> re.Pattern[str]:
    """The form in the language of Python, whose patterns compile a hundred times faster; used on a few short values only."""
    pattern = rf"{kind.pattern}|\d{{9}}" if kind.name == "us-ssn" else str(kind.pattern)
    return re.compile(pattern.replace(r"[\pL]", r"[^\W\d_]").replace(r"\pL", r"\w"))


def _is_likely(probe: list[str], kind: _Kind) -> bool:
    """Whether a look at some values, spread over the column, allows that most have the form."""
    form = _quick_form(kind)
    found = sum(len(text) <= PROBE_LENGTH and form.fullmatch(text) is not None for text in probe)
    return found >= SHARE / 2 * len(probe)


def _embedded(texts: Any, distinct: Any) -> dict[str, int]:
    """Cells of a text column that hold personal data among other words, by kind."""
    if not len(distinct) or int(compute.max(compute.utf8_length(distinct)).as_py()) < FREE_TEXT_LENGTH:
        return {}
    counts = compute.value_counts(texts.drop_null())
    values, numbers = counts.field("values"), counts.field("counts")
    found: dict[str, int] = {}
    for kind in KINDS:
        if kind.embedded is not None:
            holding = compute.match_substring_regex(values, pattern=kind.embedded)
            number = int(compute.sum(compute.if_else(holding, numbers, 0)).as_py() or 0)
            found |= {kind.name: number} if number else {}
    return found


def scan_pii(table: pa.Table) -> dict[str, Any]:
    """Scan every column; JSON-safe, counts and kinds only.

    Returns:
        `rows`, `columns` (name → `kind`, `role`, `basis`, `share`, `embedded`) and `identifiers`, the columns that name people.
    """
    columns: dict[str, Any] = {}
    for name in table.column_names:
        finding, embedded = find_pii(name, table.column(name))
        if finding is not None or embedded:
            columns[name] = {
                "kind": finding.kind if finding else "free-text",
                "role": finding.role if finding else "identifier",
                "basis": finding.basis if finding else "values",
                "share": finding.share if finding else None,
                "embedded": dict(embedded),
            }
    return {
        "rows": table.num_rows,
        "columns": columns,
        "identifiers": [name for name, found in columns.items() if found["role"] == "identifier"],
    }
