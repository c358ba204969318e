"""The files that the demo plays with: table, card, policy.

Invariants: a reader's own table is copied, never changed; the policy is the same whatever the table.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from gateway.cli.output import Refused
from gateway.cli.sample import write_sample
from gateway.errors import EXIT_BAD_INPUT
from policies.loader import DocumentInvalid, load_card

__all__ = ["POLICY", "write_inputs"]

POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {{name: demo-release, version: 1, owner: privacy-office}}
spec:
  datasets: [{dataset}]
  request: {{roles: [analyst], purposes: [testing], max_rows: 100000, formats: [parquet, csv], attempts_per_ticket: 10}}
  ticket: {{projects: [DATA], statuses: [Approved], approval_max_age: 30d, max_uses: 10}}
  generation: {{generators: [dp-marginal, cart], epsilon: {{max: 3.0}}, delta: {{max: 1.0e-5}}, allow_non_dp: true}}
  budget: {{epsilon: 10.0, delta: 1.0e-5}}
  preset: standard
  disclosure: {{metrics: banded}}
  access: {{token_ttl: 15m, max_downloads: 3, proof_of_possession: optional, release_expires: 30d}}
"""


def write_inputs(folder: Path, *, data: Path | None, card: Path | None, customers: int, seed: int) -> tuple[str, tuple[str, ...]]:
    """Write table, `card.yaml` and `policy.yaml`.

    Returns:
        The dataset's name and its columns.

    Raises:
        Refused: the reader's card cannot be read.
    """
    if data is None or card is None:
        target = write_sample(folder, customers=customers, rng=np.random.default_rng(seed))
    else:
        target = folder / "card.yaml"
        shutil.copyfile(card, target)
    try:
        known = load_card(target)
    except DocumentInvalid as invalid:
        raise Refused(str(invalid), EXIT_BAD_INPUT) from None
    if data is not None:
        place = (folder / Path(known.spec.source).name).resolve()
        shutil.copyfile(data, place)
        _point_at(target, known.spec.source, place.name)
    (folder / "policy.yaml").write_text(POLICY.format(dataset=known.name), "utf-8")
    return known.name, tuple(known.columns)


def _point_at(card: Path, source: str, name: str) -> None:
    """The copied card names the copied table."""
    text = card.read_text("utf-8")
    card.write_text(text.replace(source, name, 1), "utf-8")
