"""Privacy metrics: how much more the synthetic table tells of train than of people it never saw.

Responsible for the order in which privacy families run. Each family is a pure function of the inputs.

Invariants:
    - Every attack has a control against the holdout; scores are computed without looking at who is in train.
    - The same inputs and seed give the same results, whatever ran before and on however many threads.
"""

from __future__ import annotations

from evaluator.privacy.anonymity import ANONYMITY
from evaluator.privacy.copies import COPIES
from evaluator.privacy.dp import DP
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.inference import INFERENCE
from evaluator.privacy.linkability import LINKABILITY
from evaluator.privacy.membership import MEMBERSHIP
from evaluator.privacy.outliers import OUTLIERS
from evaluator.privacy.pii import PII
from evaluator.privacy.plan import plan_of
from evaluator.privacy.rare import RARE
from evaluator.privacy.records import RECORDS
from evaluator.privacy.singling_out import SINGLING_OUT
from evaluator.privacy.split import SPLIT

__all__ = ["FAMILIES", "Family", "PrivacyOptions", "plan_of"]

FAMILIES: tuple[Family, ...] = (
    COPIES,
    RARE,
    PII,
    MEMBERSHIP,
    SPLIT,
    OUTLIERS,
    INFERENCE,
    SINGLING_OUT,
    LINKABILITY,
    RECORDS,
    ANONYMITY,
    DP,
)
