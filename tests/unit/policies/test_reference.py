from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import policies
from policies import gate as gate_module
from policies.codes import DECISION_CODES, GATE_CODES
from policies.loader import load_policy
from policies.reference import BLOCKS, refreshed
from policies.schema import ReleasePolicy
from policies.schema_json import json_schema

ROOT = Path(policies.__file__).parent
REPOSITORY = Path(__file__).parents[3]
PAGE = REPOSITORY / "docs" / "reference" / "policy.md"
EXPLANATION = REPOSITORY / "docs" / "explanation" / "policies.md"


def test_the_page_is_current():
    text = PAGE.read_text()
    assert refreshed(text) == text, "run: python -m policies.reference docs/reference/policy.md"
    assert {name for name in BLOCKS if f"<!-- begin {name} -->" in text} == set(BLOCKS)


def test_a_page_with_an_unknown_block_is_refused():
    with pytest.raises(KeyError):
        refreshed("<!-- begin nothing -->\n<!-- end nothing -->")


def test_every_decision_code_is_on_the_list_and_no_other():
    source = "".join(
        (ROOT / f"{name}.py").read_text() for name in ("decide", "request_rules", "differencing_rules", "ticket_rules")
    )
    given = set(re.findall(r'reason\(\s*"([a-z-]+)"', source)) | set(re.findall(r'_listed\("([a-z-]+)"', source))
    given |= set(re.findall(r'": \("(ticket-[a-z-]+)"', source))
    given |= {"epsilon-above-limit", "delta-above-limit"}
    given |= {f"{word}-above-limit" for word in re.findall(r'\(\s*"([a-z-]+)",\s*"max_', source)}
    assert given == set(DECISION_CODES)


def test_every_gate_code_is_on_the_list_and_no_other():
    source = (ROOT / "gate.py").read_text()
    given = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source)) - {"lower-case"}
    assert {code for code, _ in gate_module.CAUSES.values()} <= given
    assert given == set(GATE_CODES)


def test_the_example_on_the_page_is_a_sound_policy():
    example = re.search(r"```yaml\n(apiVersion.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert load_policy(example).name == "card-transactions-analytics"


def test_defaults_of_the_schema_are_written_as_policies_write_them():
    text = json.dumps(json_schema(ReleasePolicy))
    assert '"default": "30d"' in text
    assert not re.search(r'"default": "P', text)


def test_the_explanation_speaks_of_what_is_not_ensured():
    assert "does not ensure" in EXPLANATION.read_text()
