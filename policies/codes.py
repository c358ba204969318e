"""Every reason code that a decision or a verdict can hold, and what it means in one sentence.

Responsible for the list that programs switch on and that the reference page prints. Invariants: a code never changes its
meaning; a test compares this list with the codes that the rules can yield.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DECISION_CODES", "GATE_CODES"]

DECISION_CODES: Mapping[str, str] = {
    "dataset-unknown": "No such dataset is registered.",
    "policy-none": "No enforced policy covers the dataset.",
    "policy-ambiguous": "Several policies cover the dataset, and the request names none; the message lists them.",
    "policy-unknown": "The request names a policy that does not cover the dataset, or is not enforced.",
    "policy-mismatch": "The policy does not speak for this request.",
    "principal-mismatch": "The request speaks for somebody else than who signed it.",
    "principal-disabled": "The principal is disabled.",
    "role-not-allowed": "The principal has none of the roles that may ask.",
    "purpose-not-allowed": "The stated purpose is not on the list.",
    "rows-above-limit": "More rows than allowed, or none, were asked for.",
    "rows-below-least": "Fewer rows than the policy's gate can judge were asked for.",
    "format-not-allowed": "The file format is not on the list.",
    "columns-unknown": "A column does not stand in the dataset card, or no column was asked for.",
    "columns-identify": "A column identifies people; such columns are never released.",
    "generator-not-allowed": "The generator is not on the list.",
    "generator-unknown": "There is no such generator.",
    "non-dp-not-allowed": "The generator gives no privacy guarantee, and the policy does not allow that.",
    "epsilon-without-dp": "Epsilon or delta was stated for a generator that gives no guarantee.",
    "epsilon-missing": "A differentially private generator needs epsilon, delta, and a policy that limits them.",
    "epsilon-above-limit": "Epsilon is above the line, or not a positive number.",
    "delta-above-limit": "Delta is above the line, or not a positive number.",
    "delta-too-large-for-rows": "Delta is not below one over the public number of rows.",
    "budget-exhausted": "The privacy budget of the dataset does not afford the request.",
    "budget-window-closed": "The spending window of the dataset is closed for now.",
    "ticket-not-found": "The ticket does not exist, or the gateway may not see it.",
    "ticket-source-unavailable": "The ticket system did not answer.",
    "ticket-source-refused": "The ticket system refused the gateway's credentials.",
    "ticket-unreadable": "The ticket system answered with something that cannot be read.",
    "ticket-stale": "The ticket was not fetched recently enough.",
    "ticket-mismatch": "The ticket that came back has another key: it was moved.",
    "ticket-project": "The ticket belongs to another project.",
    "ticket-type": "The ticket is of another type.",
    "ticket-status": "The ticket is not in an accepted status.",
    "ticket-assignee": "The ticket is not assigned to the requester (account ids are compared).",
    "ticket-approver-unknown": "The ticket does not say who approved it.",
    "ticket-approver-is-requester": "The requester approved the ticket.",
    "ticket-dataset": "The ticket does not name the dataset.",
    "ticket-not-approved": "The ticket was never approved.",
    "ticket-approved-in-future": "The approval is dated in the future: a clock is wrong.",
    "ticket-approval-expired": "The approval is older than the policy accepts.",
    "ticket-changed-since-approval": "Something the approval rests on was changed after it.",
    "ticket-used-up": "The ticket has justified as many releases as it may.",
    "ticket-attempts-used-up": "The ticket has carried as many requests as it may.",
    "releases-above-limit": "The dataset has been released as often as it may be.",
    "recipients-above-limit": "As many people as may hold a release of the dataset.",
    "recipient-releases-above-limit": "The requester holds as many releases of the dataset as one person may.",
    "recipient-epsilon-above-limit": "The epsilon of all releases to the requester would be above the line.",
    "recipient-columns-above-limit": "The columns of all releases to the requester would be too many.",
    "columns-never-together": "The requester would hold columns that are kept apart.",
}

GATE_CODES: Mapping[str, str] = {
    "within-line": "The metric keeps its line.",
    "beyond-line": "The metric is beyond its line.",
    "line-in-interval": "The interval holds the line: more records or attacks would decide it.",
    "p-below-line": "The p-value of 'no leak' is below its line.",
    "p-missing": "The rule asks for a p-value, and the metric has none.",
    "metric-missing": "The metric is not in the report card, or a pattern matches nothing.",
    "metric-not-applicable": "The question does not arise for this table.",
    "metric-inconclusive": "The evaluator could not decide.",
    "metric-nan": "The value is not a number.",
    "metric-infinite": "The value is infinite.",
    "metric-malformed": "The result cannot be read.",
    "not-enough-attacks": "There were too few records or attacks to say.",
    "evaluator-crashed": "The evaluator crashed.",
    "evaluator-timeout": "The evaluator ran out of time.",
    "holdout-contaminated": "The holdout was not kept apart from what the generator saw.",
}
