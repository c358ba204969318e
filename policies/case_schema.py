"""Case files: the shape of a policy's tests, row by row.

Responsible for `kind: PolicyCases` documents. A row changes what it is about and leaves the rest to be sound: the request,
ticket, principal and report card of a row are those that the policy lets through, with the row's values in their place.

Invariants: unknown keys are errors; moments are ages, as in `approved: 40d`, so that a case file never grows old; two rows
have different names.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from policies.columns import NAME, Strict
from policies.quantities import Duration

__all__ = [
    "BudgetChange", "Case", "CasesMetadata", "CasesSpec", "Expectation", "HistoryChange", "MetricChange", "PolicyCases",
    "PrincipalChange", "RequestChange", "TicketChange",
]  # fmt: skip

MANY = 10_000


class RequestChange(Strict):
    """What a row asks for; what is left out is what the policy lets through."""

    dataset: str | None = Field(default=None, description="Default: the policy's first.")
    purpose: str | None = Field(default=None, description="Default: the policy's first.")
    rows: int | None = Field(default=None, description="Default: as many as the policy allows.")
    format: Literal["parquet", "csv"] | None = Field(default=None, description="Default: the policy's first.")
    generator: str | None = Field(default=None, description="Default: the policy's first.")
    epsilon: Decimal | Literal["none"] | None = Field(default=None, description="`none`: no ε is asked for.")
    delta: Decimal | Literal["none"] | None = Field(default=None, description="`none`: no δ is asked for.")
    columns: tuple[str, ...] | None = Field(default=None, description="Default: all that are not identifiers.")
    ticket: str | None = Field(default=None, description="The ticket that the request names.")


class TicketChange(Strict):
    """What the ticket says; `none` empties a field."""

    problem: Literal["not-found", "unreachable", "refused", "malformed", "stale"] | None = Field(
        default=None, description="Why there is no ticket."
    )
    key: str | None = Field(default=None, description="The key under which it came back.")
    project: str | None = Field(default=None, description="Default: the policy's first.")
    type: str | None = Field(default=None, description="Default: the policy's first.")
    status: str | None = Field(default=None, description="Default: the policy's first.")
    dataset: str | None = Field(default=None, description="Default: the dataset that is asked for; `none`: it names none.")
    assignee: str | None = Field(default=None, description="`requester`, `approver`, `none`, or another account id.")
    approver: str | None = Field(default=None, description="`requester`, `approver`, `none`, or another account id.")
    approved: Duration | Literal["never"] | None = Field(default=None, description="How long ago, as in 40d.")
    changed: Duration | None = Field(default=None, description="How long ago it was last changed, as in 1h.")
    uses: int = Field(default=0, ge=0, description="Releases that it has justified.")
    attempts: int = Field(default=0, ge=0, description="Requests that it has carried.")


class PrincipalChange(Strict):
    """Who asks."""

    roles: tuple[str, ...] | None = Field(default=None, description="Default: those that the policy names.")
    account: str | None = Field(default=None, description="`requester`, `approver`, or another account id.")
    disabled: StrictBool = Field(default=False, description="Whether the principal is disabled.")


class BudgetChange(Strict):
    """What the ledger says."""

    affords: StrictBool = Field(default=True, description="Whether the ledger affords the request.")
    remaining: Decimal = Field(default=Decimal(1), description="The ε that is left.")
    window_closed: StrictBool = Field(default=False, description="Whether the spending window is closed.")


class HistoryChange(Strict):
    """Earlier releases of the dataset; by default there was one, to somebody else."""

    releases: int = Field(default=1, ge=0, description="Releases of the dataset, to anybody.")
    to_requester: int = Field(default=0, ge=0, description="Releases to the requester.")
    epsilon_to_requester: Decimal = Field(default=Decimal(0), description="The ε of those.")
    columns_to_requester: tuple[str, ...] = Field(default=(), description="Columns that they showed.")
    other_recipients: int = Field(default=0, ge=0, description="How many other people hold a release.")


class MetricChange(Strict):
    """What a report card says of a metric."""

    value: float | None = Field(default=None, description="The estimate; default: on the policy's line.")
    interval: tuple[float, float] | None = Field(default=None, description="Its confidence interval.")
    p_value: float | None = Field(default=None, ge=0, le=1, description="The p-value of 'no leak'.")
    n: int = Field(default=MANY, ge=0, description="How many records or attacks it rests on.")
    status: Literal["ok", "inconclusive", "not_applicable"] = Field(default="ok", description="Whether it says anything.")
    cause: Literal["nan", "infinite", "malformed", "too_few", "crashed", "timeout", "holdout_contaminated"] | None = Field(
        default=None, description="Why it could not be measured."
    )


def _number(value: object) -> object:
    """`0.7` is short for `{value: 0.7}`."""
    return {"value": value} if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


class Expectation(Strict):
    """What a row must come to."""

    decision: Literal["permit", "deny"] = Field(description="What is decided before anything is fitted.")
    verdict: Literal["pass", "refuse"] | None = Field(
        default=None, description="What the gate says of the report card; left out: the gate is not asked."
    )
    codes: tuple[str, ...] = Field(
        default=(), description="Exactly these reason codes: of broken rules, and of gate rules that refuse or warn."
    )
    review: StrictBool | None = Field(default=None, description="Whether people must look at the release.")


class Case(Strict):
    """One row."""

    name: str = Field(min_length=1, max_length=200, description="What the row shows, in a few words.")
    skip: str | None = Field(default=None, max_length=500, description="Why the row is not run.")
    request: RequestChange = Field(default=RequestChange(), description="What differs from a sound request.")
    ticket: TicketChange = Field(default=TicketChange(), description="What differs from a sound ticket.")
    principal: PrincipalChange = Field(default=PrincipalChange(), description="What differs from a sound requester.")
    budget: BudgetChange = Field(default=BudgetChange(), description="What the ledger says.")
    history: HistoryChange = Field(default=HistoryChange(), description="Earlier releases of the dataset.")
    metrics: dict[str, Annotated[MetricChange, BeforeValidator(_number, json_schema_input_type=MetricChange | float)] | None] = (
        Field(default_factory=dict, description="What differs from a report card that passes; null takes a metric away.")
    )
    registered: StrictBool = Field(default=True, description="Whether the dataset is registered.")
    public_rows: int | None = Field(default=None, ge=1, description="The dataset's public number of rows, if it has one.")
    evaluator: Literal["ok", "crashed", "timeout"] = Field(default="ok", description="How the evaluation ended.")
    expect: Expectation = Field(description="What the row must come to.")


class CasesMetadata(Strict):
    """Which policy the rows are for."""

    name: str = Field(pattern=NAME, description="Name of the case file.")
    description: str | None = Field(default=None, max_length=4000, description="What the rows are about.")


class CasesSpec(Strict):
    """The rows."""

    policy: str = Field(min_length=1, max_length=500, description="Path of the policy, relative to this file.")
    cases: tuple[Case, ...] = Field(min_length=1, max_length=5000, description="The rows.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [case.name for case in self.cases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rows are named '{twice}'")
        return self


class PolicyCases(Strict):
    """A case file."""

    api_version: Literal["ticketgate/v1"] = Field(alias="apiVersion", description="The edition of this format.")
    kind: Literal["PolicyCases"] = Field(description="What the document is.")
    metadata: CasesMetadata
    spec: CasesSpec
