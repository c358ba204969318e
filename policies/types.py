"""The plain facts that decide and gate look at, and the privacy loss that generators report.

Responsible for the types that cross between rooms. They hold values only: no I/O, no framework, no clock.

Invariants:
    - ε and δ are `Decimal` and keyword-only; floats never add up budgets.
    - `PrivacySpent.none()` is the only way to say "no guarantee", and it carries no ε that could be mistaken for one.
    - A refusal is a `Reason` with a stable code; text is for people, the code is for programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self

__all__ = [
    "GENERATORS", "BudgetFacts", "GeneratorInfo", "HistoryFacts", "Mechanism", "PrincipalFacts", "PrivacySpent",
    "PrivacyTarget", "Reason", "RequestFacts", "TicketFacts",
]  # fmt: skip

Neighbours = Literal["add-remove", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTarget:
    """The (ε, δ) that a fit must not exceed, for one privacy unit."""

    epsilon: Decimal
    delta: Decimal

    def __post_init__(self) -> None:
        if not (self.epsilon.is_finite() and self.epsilon > 0):
            raise ValueError(f"epsilon is a positive number, not {self.epsilon}")
        if not (self.delta.is_finite() and 0 < self.delta < 1):
            raise ValueError(f"delta lies strictly between 0 and 1, not {self.delta}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One accounted look at the data: what was asked, with which noise, and its share of the total loss in [0, 1]."""

    name: str
    parameters: Mapping[str, Any]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpent:
    """What a fit cost: the guarantee, how it was accounted, and every mechanism with its share.

    Attributes:
        epsilon, delta: The guarantee for one privacy unit; both None when there is none.
        unit: `row` or the name of the privacy-unit column.
        rho: zCDP parameter when the accountant is zCDP (Bun and Steinke 2016), else None.
        rdp: Rényi curve as (order, ε) pairs when the accountant is RDP or PRV, else empty.
        noise_source: Where the noise came from (never a seed).
    """

    epsilon: Decimal | None
    delta: Decimal | None
    unit: str
    neighbours: Neighbours | None
    accountant: str
    mechanisms: tuple[Mechanism, ...] = ()
    noise_source: str
    rho: Decimal | None = None
    rdp: tuple[tuple[float, float], ...] = ()

    @classmethod
    def none(cls, *, unit: str = "row") -> Self:
        """No differential privacy at all: what a non-DP generator reports."""
        return cls(epsilon=None, delta=None, unit=unit, neighbours=None, accountant="none", noise_source="none")

    @property
    def is_dp(self) -> bool:
        """Whether there is a guarantee."""
        return self.epsilon is not None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; decimals as strings, so that nothing is rounded."""
        document = asdict(self)
        for key in ("epsilon", "delta", "rho"):
            document[key] = None if document[key] is None else str(document[key])
        document["mechanisms"] = [{**m, "parameters": dict(m["parameters"])} for m in document["mechanisms"]]
        document["rdp"] = [list(point) for point in self.rdp]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        exact = {k: None if document[k] is None else Decimal(document[k]) for k in ("epsilon", "delta", "rho")}
        return cls(
            epsilon=exact["epsilon"],
            delta=exact["delta"],
            rho=exact["rho"],
            unit=document["unit"],
            neighbours=document["neighbours"],
            accountant=document["accountant"],
            noise_source=document["noise_source"],
            mechanisms=tuple(Mechanism(**m) for m in document["mechanisms"]),
            rdp=tuple((float(a), float(e)) for a, e in document["rdp"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorInfo:
    """One line of the generator catalogue: enough to decide on a request without loading a model."""

    name: str
    is_dp: bool
    summary: str


GENERATORS: Mapping[str, GeneratorInfo] = {
    info.name: info
    for info in (
        GeneratorInfo(name="dp-marginal", is_dp=True, summary="noisy low-dimensional marginals and a graphical model"),
        GeneratorInfo(name="dp-aim", is_dp=True, summary="AIM: adaptive, iterative choice of marginals"),
        GeneratorInfo(name="dp-ctgan", is_dp=True, summary="conditional GAN, discriminator trained by DP-SGD"),
        GeneratorInfo(name="dp-tvae", is_dp=True, summary="tabular VAE trained by DP-SGD"),
        GeneratorInfo(name="dp-ar", is_dp=True, summary="autoregressive tabular network trained by DP-SGD"),
        GeneratorInfo(name="pate-gan", is_dp=True, summary="teachers on disjoint shards, noisy votes, student discriminator"),
        GeneratorInfo(name="ctgan", is_dp=False, summary="conditional GAN of the ctgan package; no privacy guarantee"),
        GeneratorInfo(name="tvae", is_dp=False, summary="VAE of the ctgan package; no privacy guarantee"),
        GeneratorInfo(name="cart", is_dp=False, summary="sequential trees; no privacy guarantee, may copy rows"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """A verified release request. `epsilon` and `delta` are None for a non-DP generator."""

    request_id: str
    principal: str
    ticket: str
    dataset: str
    purpose: str
    rows: int
    format: Literal["parquet", "csv"]
    generator: str
    epsilon: Decimal | None
    delta: Decimal | None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    policy: str | None = None
    columns: tuple[str, ...] | None = None
    seed: int | None = None
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalFacts:
    """Who asks. `account_id` is the ticket system's id for the same person; names are never compared."""

    name: str
    roles: frozenset[str]
    account_id: str
    is_disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFacts:
    """The ticket as fetched live: `uses` and `attempts` are counted by the gateway, not by the ticket system."""

    key: str
    project: str
    type: str
    status: str
    dataset: str | None
    assignee: str | None
    approver: str | None
    approved_at: datetime | None
    changed_at: datetime | None
    fetched_at: datetime
    uses: int = 0
    attempts: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """Whether the ledger affords the request, as computed by the ledger's own accountant.

    Attributes:
        affords: Whether it fits the limit of all releases together, windows aside.
        window_closed_until: When the slowest window opens for this request; None when all are open.
        window_epsilon: The most that the narrowest window ever lets through at once.
    """

    affords: bool
    limit_epsilon: Decimal | None
    limit_delta: Decimal | None
    remaining_epsilon: Decimal | None
    lifetime_epsilon: Decimal | None = None
    window_closed_until: datetime | None = None
    window_epsilon: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFacts:
    """Earlier releases of the same dataset, for differencing rules and the first-release review.

    Attributes:
        releases_of_dataset: Let out, or permitted and on their way.
        releases_let_out: Those of them that were let out; None: all of them.
    """

    releases_of_dataset: int = 0
    releases_let_out: int | None = None
    releases_to_principal: int = 0
    epsilon_to_principal: Decimal = Decimal(0)
    columns_to_principal: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What a rule says: a stable code, what was observed, what is required, and a sentence.

    Attributes:
        holds: Whether the rule is satisfied; a reason that does not hold is a violation.
        unlock: What the requester could change, or whom to ask; only for violations.
    """

    code: str
    rule: str
    observed: Any
    required: Any
    message: str
    unlock: str | None = None
    holds: bool = False

    def to_json(self) -> dict[str, Any]:
        """The shape of one violation in problem documents."""
        return {
            "code": self.code,
            "rule": self.rule,
            "observed": self.observed,
            "required": self.required,
            "message": self.message,
        }
