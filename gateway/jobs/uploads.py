"""Trace an uploaded file: opened into the worker's scratch folder, read in a bounded child, destroyed afterwards."""

from __future__ import annotations

from typing import Any

from gateway.errors import TicketgateError
from gateway.evidence.leaks import trace_file
from gateway.jobs.rim import patiently
from gateway.jobs.scratch import scratch_folder
from gateway.releases import House
from gateway.releases.small_jobs import Job
from gateway.releases.uploads import drop_upload, read_upload
from gateway.telemetry import utc_now

__all__ = ["trace_upload"]


def trace_upload(house: House, job: Job) -> tuple[str, dict[str, Any]]:
    """Trace the upload of a job; answers status and result."""
    upload = str(job.input["upload"])
    try:
        with scratch_folder(house, prefix="upload-") as scratch:
            path = scratch / "upload"
            path.write_bytes(read_upload(house, upload))
            return "done", trace_file(house, path)
    except TicketgateError as error:
        return "failed", {"code": error.slug, "message": error.detail}
    finally:
        patiently(lambda: drop_upload(house, upload, now=utc_now()))
