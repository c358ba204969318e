"""A policy that asks for a watermark gets one on what is released, judged as it is released, and a leak says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.evidence.leaks import describe, trace_file
from gateway.releases import Status
from gateway.releases.artifacts import Artifacts
from gateway.releases.registration import apply_policy
from gateway.telemetry import utc_now
from policies.loader import load_policy
from tests.integration.conftest import POLICY

pytestmark = pytest.mark.slow


def apply_marking(town: Any) -> None:
    text = POLICY.format(version=2, metric="utility.marginals.ks.worst", line="1", review="{approvers: 0}")
    path = town.folder / "policy-2.yaml"
    path.write_text(text.replace("allow_non_dp: true}", "allow_non_dp: true, watermark: true}"), "utf-8")
    apply_policy(town.house, load_policy(path), by="operator:test", now=utc_now())


def test_a_marked_release_is_led_back_by_a_column_of_a_few_rows(town: Any, tmp_path: Path) -> None:
    """A hundred and fifty amounts, half of them chosen: the odds of that are below 1e-9 but with probability below 1e-2 a run,
    so the fingerprint is asked as well; that the mark is there is asked of the whole file."""
    import pandas as pd

    apply_marking(town)
    release = town.produced()
    assert release.status is Status.RELEASED, release.failure
    with town.house.database.read() as work:
        artifacts = Artifacts(work)
        data = artifacts.read(town.house, artifacts.get(release.id, "data.csv"))
        card = json.loads(artifacts.read(town.house, artifacts.get(release.id, "full-report-card.json")))
    (tmp_path / "whole.csv").write_bytes(data)
    answer = trace_file(town.house, tmp_path / "whole.csv")
    (found,) = answer["matches"]
    assert found["release_id"] == release.id
    assert found["watermark"]["chance"] < 1e-9
    assert found["watermark"]["agree"] > 0.65 * found["watermark"]["of"]
    assert "watermark" in describe(answer)
    assert card["rows"]["synthetic"] == len(pd.read_csv(tmp_path / "whole.csv"))
    one_column = pd.read_csv(tmp_path / "whole.csv")[["amount"]]
    one_column.to_csv(tmp_path / "column.csv", index=False)
    assert [item["release_id"] for item in trace_file(town.house, tmp_path / "column.csv")["matches"]] == [release.id]
    town.house.database.dispose()
