"""`dp validate` and `dp recommend` at the terminal."""

from __future__ import annotations

import json

from click.testing import CliRunner

from gateway.cli.dp import dp


def test_a_valid_configuration_is_told_with_its_noise() -> None:
    found = CliRunner().invoke(dp, ["validate", "--generator", "dp-ar", "--epsilon", "1", "--rows", "20000", "--steps", "50"])
    assert found.exit_code == 0
    assert "valid; expected privacy strong" in found.output
    assert "50 steps" in found.output


def test_a_configuration_that_is_not_valid_exits_with_4_and_recommends_another() -> None:
    found = CliRunner().invoke(
        dp, ["validate", "--generator", "dp-marginal", "--epsilon", "1", "--delta", "0.1", "--rows", "100"]
    )
    assert found.exit_code == 4
    assert "error: δ = 0.1 is not below 1/100" in found.output
    assert "recommended:" in found.output


def test_json_is_one_document() -> None:
    found = CliRunner().invoke(dp, ["recommend", "--quality", "privacy", "--rows", "5000", "--json"])
    assert json.loads(found.output)["epsilon"] == "1"
    bad = CliRunner().invoke(dp, ["recommend", "--generator", "nope"])
    assert bad.exit_code == 4
    wrong = CliRunner().invoke(dp, ["validate", "--generator", "dp-ar", "--epsilon", "1", "--hyperparameters", "[1]"])
    assert wrong.exit_code == 4
    assert CliRunner().invoke(dp, ["validate", "--generator", "dp-ar", "--epsilon", "many"]).exit_code == 2
