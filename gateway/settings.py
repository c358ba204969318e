"""Settings of a process: from the environment (`TICKETGATE_*`), with the embedded defaults under `TICKETGATE_HOME`.

Invariants:
    - A setting has one name, one type, one default and one line of documentation (docs/reference/settings.md is generated).
    - Secrets are named by the file that holds them, never by their value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(env_prefix="TICKETGATE_", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".ticketgate"), description="Folder of the embedded database, keys and artifacts.")
    database: str | None = Field(default=None, description="SQLAlchemy URL; default is SQLite under the home folder.")
    issuer: str | None = Field(default=None, description="Issuer URL, also `aud` of requests; default is the local address.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port to listen on.")
    proxies: int = Field(default=0, ge=0, le=4, description="Proxies in front of `serve` whose X-Forwarded-For is believed.")
    artifacts: str | None = Field(default=None, description="Artifact store: a folder or s3://bucket/prefix.")
    s3_endpoint: str | None = Field(default=None, description="Endpoint of an S3 server other than AWS.")
    s3_encryption: Literal["none", "aws:kms", "AES256"] = Field(
        default="none", description="Server-side encryption to ask S3 for."
    )
    s3_kms_key: str | None = Field(default=None, description="Key id for server-side encryption with KMS.")
    sources: Path | None = Field(default=None, description="Root below which source tables lie; default: the card's folder.")
    tickets: Literal["registry", "jira"] = Field(default="registry", description="Where tickets are fetched from.")
    jira_url: str | None = Field(default=None, description="Base URL of Jira.")
    jira_email: str | None = Field(default=None, description="Account that reads tickets.")
    jira_token_file: Path | None = Field(default=None, description="File (0600) that holds the Jira API token.")
    jira_dataset_field: str | None = Field(default=None, description="Jira custom field that names the dataset.")
    jira_approver_field: str | None = Field(default=None, description="Jira custom field that names the approver.")
    jira_approved_statuses: str = Field(
        default="Approved", description="Statuses of Jira, separated by commas: moving an issue into one is its approval."
    )
    jira_automations: str = Field(
        default="", description="Jira account ids, separated by commas, that may move an issue on behalf of its named approver."
    )
    jira_webhook_secret_file: Path | None = Field(default=None, description="File (0600) that holds the webhook's HMAC secret.")
    notify_url: str | None = Field(default=None, description="URL that is told of each withdrawal (JSON, POST).")
    notify_secret_file: Path | None = Field(
        default=None, description="File (0600) whose content signs what is sent to notify_url."
    )
    comment_decisions: bool = Field(default=False, description="Comment on the ticket when a request under it is decided.")
    ticket_snapshot_max_age: int = Field(default=60, ge=0, description="Seconds for which a ticket snapshot serves a download.")
    redis: str | None = Field(default=None, description="Redis URL for rate limits shared by several web processes.")
    rate_limit: str = Field(default="600 per minute", description="Calls per address and per principal.")
    master_key_file: Path | None = Field(default=None, description="File (0600) that wraps data keys; default under home.")
    passphrase_file: Path | None = Field(default=None, description="File (0600) whose content encrypts private keys at rest.")
    kms_key: str | None = Field(default=None, description="KMS key id that wraps data keys instead of the master key file.")
    metrics_budgets: bool = Field(default=False, description="Show the budget left of each dataset, by name, under /metrics.")
    checkpoints: str | None = Field(default=None, description="Where checkpoints are published: a file or s3://bucket/prefix.")
    witnesses: str = Field(
        default="",
        description="Witnesses that cosign checkpoints: `URL KEY` each (KEY: its verifier key), separated by commas.",
    )
    job_timeout: int = Field(default=3600, ge=1, description="Seconds after which one step of a release is stopped.")
    job_memory_mb: int = Field(default=8192, ge=256, description="Memory limit of one step of a release, in MiB.")
    workers: int = Field(default=1, ge=1, le=64, description="Releases that one worker process runs side by side.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level of log lines.")

    @property
    def database_url(self) -> str:
        """Where the database is."""
        return self.database or f"sqlite:///{self.home.resolve() / 'ticketgate.db'}"

    @property
    def issuer_url(self) -> str:
        """Who signs, and `aud` of everything sent to us."""
        return self.issuer or f"http://127.0.0.1:{self.port}"

    @property
    def artifacts_url(self) -> str:
        """Where artifacts are."""
        return self.artifacts or str(self.home.resolve() / "artifacts")

    @property
    def keys_folder(self) -> Path:
        """Folder of private keys, readable by the gateway alone."""
        return self.home.resolve() / "keys"
