"""The life of a release: request, produce, review, hand over, end, trace. Start reading in `states` and `request`."""

from __future__ import annotations

from gateway.releases.download import Transfer, finish_transfer, open_transfer, still_stands
from gateway.releases.end import cancel, expire_due, withdraw
from gateway.releases.handover import issue_token, requester_artifacts
from gateway.releases.house import Enqueue, House
from gateway.releases.repository import Release, Releases
from gateway.releases.request import Submission, submit
from gateway.releases.states import FINAL, MOVES, Status
from gateway.releases.trace import trace

__all__ = [
    "FINAL", "MOVES", "Enqueue", "House", "Release", "Releases", "Status", "Submission", "Transfer", "cancel", "expire_due",
    "finish_transfer", "issue_token", "open_transfer", "requester_artifacts", "still_stands", "submit", "trace", "withdraw",
]  # fmt: skip
