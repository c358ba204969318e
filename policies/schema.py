"""The release policy: who may ask for what under which ticket, how it must be made, which lines it must keep.

Responsible for the shape of `kind: ReleasePolicy` documents, their defaults and their inner consistency. JSON Schema for
editors is generated from here.

Invariants:
    - Unknown keys are errors. A policy without gate rules cannot be constructed.
    - Nothing that is left out permits: a list that names what is allowed must be given, and a default is the careful choice.
    - No field has a default other than null and also accepts null, so the canonical form can leave nulls out.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from policies.card import Budget
from policies.columns import NAME, Strict
from policies.gate_rule import GateRule
from policies.quantities import Duration, Size
from policies.types import GENERATORS

__all__ = [
    "AccessRules", "DeltaLine", "DifferencingRules", "Disclosure", "DisclosureRules", "EpsilonLine", "GenerationRules",
    "PolicyMetadata", "PolicySpec", "PresetName", "ReleasePolicy", "RequestRules", "ReviewRules", "RoleName", "TicketRules",
]  # fmt: skip

RoleName = Literal["analyst", "steward", "reviewer", "compliance", "security", "admin"]
PresetName = Literal["strict", "standard", "exploratory", "seed"]
Disclosure = Literal["exact", "banded", "verdict"]
Occasion = Literal["always", "warn", "first-release", "non-dp"]
Word = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]


class PolicyMetadata(Strict):
    """Which policy this is, and who answers for it."""

    name: str = Field(pattern=NAME, description="The policy's name; a requester may name it.")
    version: int = Field(strict=True, ge=1, description="Counts up. A version that was applied never changes.")
    owner: str | None = Field(default=None, max_length=200, description="Who answers for the policy.")
    description: str | None = Field(default=None, max_length=4000, description="What it is for.")
    frameworks: tuple[Word, ...] = Field(default=(), description="Rules that it serves, such as GDPR. Serving is not fulfilling.")
    does_not_ensure: tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...] = Field(
        default=(), description="What remains for a person to judge, whatever this policy says."
    )


class RequestRules(Strict):
    """What a requester may ask for."""

    roles: tuple[RoleName, ...] = Field(default=("analyst",), min_length=1, description="The requester has one of these roles.")
    purposes: tuple[Word, ...] = Field(min_length=1, description="The stated purpose is one of these.")
    max_rows: Count = Field(description="Most synthetic rows of one release.")
    formats: tuple[Literal["parquet", "csv"], ...] = Field(
        default=("parquet", "csv"), min_length=1, description="File formats that may be asked for."
    )
    attempts_per_ticket: Count = Field(
        default=3, description="Requests that one ticket carries, whatever became of them: no shopping for seeds."
    )
    max_size: Size | None = Field(default=None, description="Largest data file, as in 500MB; the worker refuses a bigger one.")


class TicketRules(Strict):
    """What the ticket must say when it is fetched live."""

    projects: tuple[Word, ...] | None = Field(default=None, min_length=1, description="Project keys; left out: any project.")
    types: tuple[Word, ...] | None = Field(default=None, min_length=1, description="Ticket types; left out: any type.")
    statuses: tuple[Word, ...] = Field(default=("Approved",), min_length=1, description="Statuses in which a ticket is valid.")
    approval_max_age: Duration = Field(
        default=timedelta(days=30), json_schema_extra={"default": "30d"}, description="How long an approval holds, as in 30d."
    )
    assignee_is_requester: StrictBool = Field(default=True, description="The ticket is assigned to who asks (account ids).")
    approver_is_not_requester: StrictBool = Field(default=True, description="Somebody else approved it (account ids).")
    names_dataset: StrictBool = Field(default=True, description="The ticket names the dataset that is asked for.")
    unchanged_since_approval: StrictBool = Field(
        default=True, description="Nothing the approval rests on was changed after it: not reopened, moved or reassigned."
    )
    max_uses: Count = Field(default=5, description="Releases that one ticket justifies.")


class EpsilonLine(Strict):
    """The privacy loss that one release may cost."""

    max: Decimal = Field(gt=0, le=1000, description="Largest ε of one release.")
    advised_min: Decimal | None = Field(
        default=None, gt=0, le=1000, description="Below this the result is seldom useful: advice."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.advised_min is not None and self.advised_min > self.max:
            raise ValueError(f"advised_min {self.advised_min} is above max {self.max}")
        return self


class DeltaLine(Strict):
    """The probability with which the ε may fail to hold."""

    max: Decimal = Field(gt=0, lt=1, description="Largest δ of one release.")


class GenerationRules(Strict):
    """How the synthetic table may be made."""

    generators: tuple[Word, ...] = Field(min_length=1, description="Generators that may be asked for.")
    epsilon: EpsilonLine | None = Field(default=None, description="Needed when a differentially private generator is allowed.")
    delta: DeltaLine = Field(default=DeltaLine(max=Decimal("0.000001")), description="Default: 1e-6.")
    allow_non_dp: StrictBool = Field(
        default=False,
        description="Whether a generator without any guarantee may be used; the ledger flags it.",
    )
    watermark: StrictBool = Field(
        default=False,
        description="Mark low-order digits of released numbers by the release, so that a leak says whose it was.",
    )

    @model_validator(mode="after")
    def _epsilon_is_limited(self) -> Self:
        private = [name for name in self.generators if name in GENERATORS and GENERATORS[name].is_dp]
        if private and self.epsilon is None:
            raise ValueError(f"{private[0]} is differentially private: say epsilon: {{max: …}}")
        return self


class DifferencingRules(Strict):
    """What earlier releases of the same dataset mean for the next one."""

    max_releases: Count | None = Field(default=None, description="Most releases of the dataset, to anybody.")
    max_recipients: Count | None = Field(default=None, description="Most different principals that ever receive a release of it.")
    max_releases_per_recipient: Count | None = Field(
        default=None,
        description="Most releases to the same principal: what one person holds can be subtracted.",
    )
    max_epsilon_per_recipient: Decimal | None = Field(
        default=None, gt=0, description="Most ε, summed over all releases to one principal, this one counted."
    )
    max_columns_per_recipient: Count | None = Field(
        default=None, description="Most different columns in the union of all releases to one principal, this one counted."
    )
    never_together: tuple[Annotated[tuple[Word, ...], Field(min_length=2)], ...] = Field(
        default=(), description="Sets of columns that the union of all releases to one principal never holds whole."
    )


class ReviewRules(Strict):
    """When people look before anything leaves."""

    approvers: int = Field(strict=True, default=0, ge=0, le=10, description="How many must agree; the requester never counts.")
    roles: tuple[RoleName, ...] = Field(default=("reviewer",), min_length=1, description="Who may vote.")
    when: tuple[Occasion, ...] = Field(
        default=("always",), min_length=1, description="On which occasions; `warn` is a warning of the gate."
    )


class DisclosureRules(Strict):
    """How much of the report card the requester sees."""

    metrics: Disclosure = Field(
        default="banded",
        description="`exact` numbers, `banded`, or the `verdict` alone: metrics come from confidential data.",
    )
    noisy_epsilon: Decimal | None = Field(
        default=None,
        gt=0,
        le=10,
        description=(
            "Also publish distances and means with noise, at this ε beside the generator's: reserved with the request, "
            "charged with the release. Of a generator without a guarantee none are published. Left out: none."
        ),
    )


class AccessRules(Strict):
    """How what was released is handed over."""

    token_ttl: Duration = Field(
        default=timedelta(minutes=15), json_schema_extra={"default": "15m"}, description="Life of a release token, as in 15m."
    )
    max_downloads: Count = Field(default=3, description="Downloads of the data over all tokens of a release.")
    proof_of_possession: Literal["never", "optional", "required"] = Field(
        default="optional", description="Whether a token is bound to the requester's key (RFC 9449)."
    )
    release_expires: Duration = Field(
        default=timedelta(days=30),
        json_schema_extra={"default": "30d"},
        description="How long a release can be fetched, as in 30d.",
    )


class PolicySpec(Strict):
    """The rules."""

    datasets: tuple[Annotated[str, Field(pattern=NAME)], ...] = Field(min_length=1, description="Datasets it is for.")
    mode: Literal["enforce", "audit"] = Field(
        default="enforce",
        description="`audit`: a shadow beside the enforced policy; it is recorded and never enforced.",
    )
    request: RequestRules
    ticket: TicketRules = TicketRules()
    generation: GenerationRules
    budget: Budget | None = Field(default=None, description="Limit of all releases of a dataset; only lowers the card's.")
    preset: PresetName | None = Field(default=None, description="Ready gate rules; `gate` overrides them metric by metric.")
    expanded_from: PresetName | None = Field(
        default=None, description="Written by `policy show`: the preset from which rules of `gate` were written out."
    )
    gate: tuple[GateRule, ...] = Field(default=(), max_length=500, description="Lines that the report card must keep.")
    differencing: DifferencingRules = DifferencingRules()
    review: ReviewRules = ReviewRules()
    disclosure: DisclosureRules = DisclosureRules()
    access: AccessRules = AccessRules()

    @model_validator(mode="after")
    def _has_rules(self) -> Self:
        if not self.gate and self.preset is None:
            raise ValueError("a policy needs gate rules: give `gate` or `preset`; without them it would release anything")
        if self.preset is not None and self.expanded_from is not None:
            raise ValueError("preset and expanded_from exclude each other: an expanded policy holds the preset's rules already")
        return self


class ReleasePolicy(Strict):
    """A release policy as it stands in a file."""

    api_version: Literal["ticketgate/v1"] = Field(alias="apiVersion", description="The edition of this format.")
    kind: Literal["ReleasePolicy"] = Field(description="What the document is.")
    metadata: PolicyMetadata
    spec: PolicySpec

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.metadata.name

    @property
    def version(self) -> int:
        """The policy's version."""
        return self.metadata.version

    @property
    def is_enforced(self) -> bool:
        """Whether the policy permits and refuses, or only watches."""
        return self.spec.mode == "enforce"

    def covers(self, dataset: str) -> bool:
        """Whether the policy is for a dataset."""
        return dataset in self.spec.datasets
