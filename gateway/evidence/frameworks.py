"""Which indicator of which framework a metric serves, and what no metric can settle.

Responsible for the tables behind compliance reports. Sources: Article 29 Working Party, Opinion 05/2014 (WP216) with recital
26 of the GDPR; 45 CFR 164.514(b); California Civil Code 1798.140(m); NIST SP 800-226 for differential privacy.

Invariants: an indicator names its source; a framework names what a person has to judge; nothing here says that a law is met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FRAMEWORKS", "Framework", "Indicator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One thing that a framework asks about.

    Attributes:
        metrics: Names of metrics that serve it, or beginnings of names ending in a dot.
        reads_as: How a figure is to be read.
    """

    name: str
    source: str
    question: str
    metrics: tuple[str, ...]
    reads_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """Indicators, and what remains."""

    name: str
    title: str
    indicators: tuple[Indicator, ...]
    judgement: tuple[str, ...]


_DP = Indicator(
    name="differential privacy",
    source="NIST SP 800-226",
    question="How much can the output say about one person, whatever else is known?",
    metrics=("privacy.dp.",),
    reads_as="ε bounds the mechanism alone; verdict and report read the data outside of it. The audit is a lower bound.",
)

_GDPR = Framework(
    name="GDPR",
    title="Regulation (EU) 2016/679, recital 26, read with WP216",
    indicators=(
        Indicator(
            name="singling out",
            source="WP216, section 2.2, first risk",
            question="Can records of one person be isolated?",
            metrics=(
                "privacy.singling_out.",
                "privacy.copies.",
                "privacy.rare_values.",
                "privacy.k_map.",
                "privacy.k_anonymity.",
                "privacy.outlier_exposure",
            ),
            reads_as="Success over the same attack against people who were never used; excess over control counts.",
        ),
        Indicator(
            name="linkability",
            source="WP216, section 2.2, second risk",
            question="Can two records about one person be linked?",
            metrics=("privacy.linkability", "privacy.dcr.", "privacy.nndr."),
            reads_as="Excess over control. Distances to the closest record warn only: they bound nothing.",
        ),
        Indicator(
            name="inference",
            source="WP216, section 2.2, third risk",
            question="Can an attribute, or the presence, of a person be deduced?",
            metrics=(
                "privacy.attribute_inference.",
                "privacy.membership_inference.",
                "privacy.l_diversity",
                "privacy.t_closeness",
            ),
            reads_as="Members over non-members; a figure at the control's level is what the population itself gives away.",
        ),
        Indicator(
            name="direct identifiers",
            source="GDPR, Article 4(1)",
            question="Do identifiers stand in the output?",
            metrics=("privacy.pii.",),
            reads_as="Counts of patterns; names in free text can be missed.",
        ),
        _DP,
    ),
    judgement=(
        "Whether the means reasonably likely to be used for identification (recital 26) are those that these attacks stand for.",
        "On which legal basis (Article 6), for special categories under which exception (Article 9), the table was processed.",
        "Whether an impact assessment (Article 35) is needed, and what it says.",
        "What other data the recipient holds or can obtain.",
    ),
)

_HIPAA = Framework(
    name="HIPAA",
    title="45 CFR 164.514(b): de-identification of protected health information",
    indicators=(
        Indicator(
            name="risk of identification",
            source="45 CFR 164.514(b)(1)(i)",
            question="Is the risk very small that an anticipated recipient identifies an individual?",
            metrics=(
                "privacy.k_map.",
                "privacy.singling_out.",
                "privacy.linkability",
                "privacy.copies.",
                "privacy.rare_values.",
                "privacy.outlier_exposure",
                "privacy.k_anonymity.",
            ),
            reads_as="Evidence for an expert's determination; the regulation states no number.",
        ),
        Indicator(
            name="disclosure about an individual",
            source="45 CFR 164.514(b)(1)(i)",
            question="Is something learnt about an individual who is in the table?",
            metrics=(
                "privacy.membership_inference.",
                "privacy.attribute_inference.",
                "privacy.l_diversity",
                "privacy.t_closeness",
            ),
            reads_as="Members over non-members, with an interval.",
        ),
        Indicator(
            name="listed identifiers",
            source="45 CFR 164.514(b)(2)(i)(A)-(R)",
            question="Do listed identifiers stand in the output?",
            metrics=("privacy.pii.",),
            reads_as="Counts of patterns; seven of the eighteen kinds are looked for.",
        ),
        _DP,
    ),
    judgement=(
        "For expert determination: a person with appropriate knowledge must conclude, and document, that the risk is very small.",
        "For safe harbor: geographic units below a state, and elements of dates, (b)(2)(i)(B) and (C), in the columns released.",
        "For safe harbor: whether there is actual knowledge that what remains could identify an individual, (b)(2)(ii).",
        "Who the anticipated recipients are, and what else is reasonably available to them.",
    ),
)

_CCPA = Framework(
    name="CCPA",
    title="California Civil Code 1798.140(m): deidentified information",
    indicators=(
        Indicator(
            name="cannot reasonably be linked",
            source="Civ. Code 1798.140(m)",
            question="Can the output be linked to a particular consumer?",
            metrics=(
                "privacy.linkability",
                "privacy.singling_out.",
                "privacy.copies.",
                "privacy.rare_values.",
                "privacy.k_map.",
                "privacy.outlier_exposure",
                "privacy.pii.",
            ),
            reads_as="Excess over control, with an interval.",
        ),
        Indicator(
            name="cannot reasonably be used to infer",
            source="Civ. Code 1798.140(m)",
            question="Can information about a particular consumer be inferred?",
            metrics=("privacy.attribute_inference.", "privacy.membership_inference."),
            reads_as="Members over non-members, with an interval.",
        ),
        _DP,
    ),
    judgement=(
        "Whether reasonable measures keep the information from being associated with a consumer, 1798.140(m)(1).",
        "Whether the business publicly commits to keep it deidentified and not to reidentify, 1798.140(m)(2).",
        "Whether recipients are bound by contract to the same, 1798.140(m)(3).",
    ),
)

FRAMEWORKS: Mapping[str, Framework] = {item.name: item for item in (_HIPAA, _GDPR, _CCPA)}
"""By name, as given on the command line."""
