"""The command: files in, files out, exit codes, and one sentence when the input is bad."""

import json

import pyarrow.csv
import pyarrow.parquet
import pytest

from evaluator.__main__ import main

CARD = """
apiVersion: ticketgate/v1
kind: Dataset
metadata: {name: made-up}
spec:
  source: t.csv
  targets: [bought]
  protected: [town]
  time_index: at
  columns:
    age: {type: integer, bounds: [18, 90], role: quasi-identifier}
    town: {type: category, role: quasi-identifier}
    spend: {type: number, role: sensitive}
    at: {type: datetime}
    bought: {type: category}
"""
POLICY = """
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: p, version: 1, owner: o}
spec:
  datasets: [made-up]
  request: {roles: [analyst], purposes: [testing], max_rows: 1000}
  ticket: {projects: [DATA], statuses: [Approved]}
  generation: {generators: [dp-marginal], epsilon: {max: 3.0}}
  budget: {epsilon: 10.0, delta: 1.0e-5}
  gate:
    - {metric: utility.marginals.ks.worst, max: LINE}
"""


@pytest.fixture
def files(tmp_path, tables):
    (tmp_path / "card.yaml").write_text(CARD)
    pyarrow.csv.write_csv(tables["train"], tmp_path / "train.csv")
    pyarrow.csv.write_csv(tables["holdout"], tmp_path / "holdout.csv")
    pyarrow.parquet.write_table(tables["synthetic"], tmp_path / "synthetic.parquet")
    names = {"train": "train.csv", "holdout": "holdout.csv", "synthetic": "synthetic.parquet", "card": "card.yaml", "out": "out"}
    return tmp_path, {name: str(tmp_path / file) for name, file in names.items()}


@pytest.fixture
def measured(monkeypatch, report):
    """The command without the seconds of measuring: what is tested is what becomes of a card."""
    monkeypatch.setattr("evaluator.__main__.evaluate", lambda **_: report)


def run(given, *more):
    return main([item for name, value in given.items() for item in (f"--{name}", value)] + list(more))


def test_it_writes_the_card_and_the_page(files, capsys):
    folder, given = files
    assert run(given, "--seed", "11") == 0
    document = json.loads((folder / "out/report-card.json").read_text())
    assert document["seed"] == 11
    assert (folder / "out/report-card.html").read_text().startswith("<!doctype html>")
    assert (folder / "out/model-card-section.md").read_text().startswith("## Evaluation")
    assert not (folder / "out/verdict.json").exists()
    said = capsys.readouterr()
    assert "No gate was applied" in said.out
    assert "100%  done" in said.err


def test_json_is_one_document_and_a_refusal_exits_with_three(files, capsys, measured):
    folder, given = files
    policy = folder / "policy.yaml"
    policy.write_text(POLICY.replace("LINE", "0.0001"))
    assert run(given, "--policy", str(policy), "--json") == 3
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert said.err == ""
    assert answer["passed"] is False
    verdict = json.loads((folder / "out/verdict.json").read_text())
    assert {"passed", "rules"} <= verdict.keys()
    assert {"metric", "observed", "bound", "status"} <= verdict["rules"][0].keys()


def test_a_policy_that_is_kept_exits_with_zero(files, measured):
    folder, given = files
    policy = folder / "policy.yaml"
    policy.write_text(POLICY.replace("LINE", "0.5"))
    assert run(given, "--policy", str(policy), "--json") == 0
    assert json.loads((folder / "out/verdict.json").read_text())["passed"] is True


def test_noisy_metrics_are_written_for_a_stated_loss(files, capsys, measured):
    folder, given = files
    assert run(given, "--noisy-epsilon", "0.5") == 0
    document = json.loads((folder / "out/noisy-metrics.json").read_text())
    assert document["epsilon"] == "0.5"
    assert sum(float(metric["epsilon"]) for metric in document["metrics"].values()) <= 0.5
    assert {"utility.marginals.ks.age", "utility.marginals.tv.town", "mean.age"} <= document["metrics"].keys()
    assert "the exact report card" in document["does_not_cover"]
    assert "epsilon 0.5 covers its" in " ".join(capsys.readouterr().out.split())
    assert run(given, "--noisy-epsilon", "0.5") == 0
    again = json.loads((folder / "out/noisy-metrics.json").read_text())
    assert again["metrics"] != document["metrics"]  # the seed is not for noise; equal by chance: below 1e-30


def test_without_a_stated_loss_no_noisy_metric_is_written(files, measured):
    folder, given = files
    assert run(given, "--json") == 0
    assert not (folder / "out/noisy-metrics.json").exists()


def test_too_few_people_are_bad_input_before_anything_is_measured(files, capsys, monkeypatch):
    folder, given = files
    rows = (folder / "train.csv").read_text().splitlines()[:60]
    (folder / "train.csv").write_text("\n".join(rows))
    monkeypatch.setattr("evaluator.__main__.evaluate", lambda **_: pytest.fail("it was measured"))
    assert run(given, "--noisy-epsilon", "200") == 4  # noise of scale 0.1 or less: a hundred by chance below 1e-40
    assert "fewer than about 100 privacy units" in capsys.readouterr().err


@pytest.mark.parametrize("epsilon", ["0", "-1", "NaN", "inf", "much"])
def test_a_loss_that_is_none_is_wrong_usage(files, capsys, epsilon):
    with pytest.raises(SystemExit) as ended:
        run(files[1], f"--noisy-epsilon={epsilon}")
    assert ended.value.code == 2
    assert "positive number" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["strict", "standard", "exploratory"])
def test_presets_are_names(files, preset, capsys, measured):
    assert run(files[1], "--policy", preset, "--json") in (0, 3)
    capsys.readouterr()


def break_train(folder):
    (folder / "train.csv").write_text("age,town\n1,2,3\n")


def break_card(folder):
    (folder / "card.yaml").write_text(CARD.replace("integer", "whole"))


def break_number(folder):
    text = (folder / "train.csv").read_text().splitlines()
    text[5] = "secretvalue" + text[5][text[5].index(",") :]
    (folder / "train.csv").write_text("\n".join(text))


def lose_holdout(folder):
    (folder / "holdout.csv").unlink()


def copy_holdout(folder):
    (folder / "holdout.csv").write_text((folder / "train.csv").read_text())


@pytest.mark.parametrize(
    ("breakage", "named"),
    [
        (break_train, "train.csv"),
        (break_card, "card.yaml"),
        (break_number, "train.csv"),
        (lose_holdout, "holdout.csv"),
        (copy_holdout, "holdout"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_four(files, capsys, breakage, named):
    folder, given = files
    breakage(folder)
    assert run(given) == 4
    said = capsys.readouterr()
    assert named in said.err
    assert "Traceback" not in said.err
    assert "secretvalue" not in said.err
    assert said.out == ""


def test_an_unknown_policy_is_bad_input(files, capsys):
    assert run(files[1], "--policy", "no-such-policy") == 4
    assert "no-such-policy" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", str(2**53)])
def test_wrong_usage_exits_with_two(files, capsys, seed):
    with pytest.raises(SystemExit) as ended:
        run(files[1], f"--seed={seed}")
    assert ended.value.code == 2
    capsys.readouterr()


def test_what_nobody_foresaw_exits_with_one_and_tells_only_its_kind(files, capsys, monkeypatch):
    def breaks(**_):
        raise RuntimeError("secretvalue")

    monkeypatch.setattr("evaluator.__main__.evaluate", breaks)
    assert run(files[1]) == 1
    said = capsys.readouterr()
    assert "RuntimeError" in said.err
    assert "secretvalue" not in said.err
    with pytest.raises(RuntimeError):
        run(files[1], "--debug")
