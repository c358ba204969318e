"""The comparison with peers survives a peer that fails, and what is assembled for one of them is sound."""

import json

import numpy as np
import pandas as pd
import pytest

from generator.zcdp import epsilon_of_rho
from policies.loader import load_card
from tests.bench import generators, peer_runner
from tests.bench.generator_tables import TABLES
from tests.bench.peers import PEERS, NotMeasured, columns_of, produce

BIKE = load_card(TABLES["bike"].card)
COLUMNS = {
    "kind": {"values": ["a", "b"], "missing": True},
    "count": {"bounds": [0.0, 5000.0], "whole": True, "missing": True},
    "age": {"bounds": [17.0, 90.0], "whole": True, "missing": False},
    "share": {"bounds": [-1.0, 1.0], "whole": False, "missing": False},
}


def stand_in(cache, script):
    """A peer's environment whose Python is a script."""
    peer = PEERS["dpmm-mst"]
    python = cache / peer.environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (cache / peer.environment / "installed").write_text("\n".join(peer.requirements))
    return {
        "epsilon": "1",
        "delta": "1e-5",
        "seed": 0,
        "train": cache / "t.csv",
        "card": BIKE,
        "out": cache / "o.csv",
        "cache": cache,
    }


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'Traceback' >&2; echo 'ValueError: no such column | at all' >&2; echo ' (see the manual)' >&2; exit 1",
            "no such column",
        ),
        ("kill -XCPU $$", "CPU s"),
        ("exit 3", "exit status 3"),
    ],
)
def test_a_peer_that_fails_gives_a_row_that_says_why(tmp_path, capsys, script, said):
    asked = stand_in(tmp_path, script)
    with pytest.raises(NotMeasured, match=said):
        produce("dpmm-mst", **asked)
    generators.row("dpmm-mst", "1", lambda: [produce("dpmm-mst", **asked)])
    printed = capsys.readouterr().out
    assert printed.startswith("| `dpmm-mst` | 1 | not measured: ")
    assert said in printed
    assert printed.count("|") == 4


def test_a_peer_that_works_says_what_it_cost(tmp_path):
    asked = stand_in(tmp_path, 'echo hello; echo \'{"cpu": 2.5, "mb": 100}\'')
    assert produce("dpmm-mst", **asked) == {"cpu": 2.5, "mb": 100.0}
    told = json.loads((tmp_path / "o.columns.json").read_text())
    assert told == columns_of(BIKE)
    assert told["hr"] == {"missing": False, "bounds": [0.0, 23.0], "whole": True}


def test_codes_come_from_the_card_and_return_to_their_cells():
    frame = pd.DataFrame({
        "kind": ["a", peer_runner.MISSING, "b", "a"],
        "count": [0, 7, np.nan, 9_999],
        "age": [17, 90, 33, 5],
        "share": [-1.0, 1.0, 0.0, 2.0],
    })  # fmt: skip
    codes, sizes = peer_runner.encode(frame, COLUMNS)
    assert sizes["kind"] == 3
    assert sizes["age"] == 74
    assert codes["age"].tolist() == [0, 73, 16, 0]
    assert codes["count"][2] == sizes["count"] - 1
    assert codes["count"][0] != codes["count"][1]
    made = peer_runner.decode(codes, COLUMNS, np.random.default_rng(0))
    again, _ = peer_runner.encode(made, COLUMNS)
    for name in COLUMNS:
        assert again[name].tolist() == codes[name].tolist()
    assert made["count"].isna().tolist() == [False, False, True, False]
    assert made["age"].tolist() == [17, 90, 33, 17]
    with pytest.raises(ValueError, match="kind"):
        peer_runner.encode(frame.assign(kind="c"), COLUMNS)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_the_budget_of_the_assembled_peer_is_converted_as_ours(epsilon):
    rho = peer_runner.rho_of(epsilon, 1e-5)
    assert epsilon_of_rho(rho, 1e-5) == pytest.approx(epsilon, rel=1e-4)
