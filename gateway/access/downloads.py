"""What one download is, and how many are left.

A download is one fetch of the data artifact with one token. A request without a range begins one. A request with a range
continues the token's latest download of that artifact, as long as that began within the hour and has not been promised more
than twice the file (every byte once, and as much again for repeats); else it begins one. What was promised but not sent is
given back. So neither resuming nor parallel segments are counted again, and ranges cannot be used to fetch the file for ever.

Invariants:
    - The count belongs to (release, principal) and is raised by one conditional update: of two last downloads one wins.
    - Only counted artifacts are limited; every fetch has an id under which it is logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from gateway.access.refusal import token_refusal
from gateway.access.release_tokens import TokenFacts
from gateway.access.signing import new_jti
from gateway.db import Work
from gateway.db.tables.access import download, download_count

__all__ = ["WINDOW", "DownloadFacts", "Downloads"]

WINDOW: Final = timedelta(hours=1)
ALLOWANCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFacts:
    """The download that a fetch belongs to.

    Attributes:
        id: The same for all ranges of one download.
        is_new: Whether this fetch began it, and was counted.
        is_last: Whether no further download can begin.
    """

    id: str
    is_new: bool
    downloads_left: int
    is_last: bool


class Downloads:
    """Counts downloads."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def begin(
        self, token: TokenFacts, *, artifact: str, counts: bool, has_range: bool, length: int, size: int, now: datetime
    ) -> DownloadFacts:
        """Begin or continue a download, in the transaction that records the intent to send.

        Args:
            token: As just checked.
            artifact: Which artifact.
            counts: Whether it is the data artifact; other artifacts are not limited.
            has_range: Whether the request asks for a byte range.
            length: Bytes that will be sent.
            size: Bytes of the whole artifact.
            now: The present moment.

        Raises:
            TokenRefused: no download is left.
        """
        if not counts:
            left = token.downloads_left
            return DownloadFacts(id=new_jti(), is_new=False, downloads_left=left, is_last=left == 0)
        where = (download_count.c.release_id == token.subject.release, download_count.c.principal == token.subject.principal)
        used = self._work.execute(select(download_count.c.used).where(*where).with_for_update()).scalar_one()
        continued = self._continue(token, artifact, length, size, now) if has_range else None
        if continued is None:
            fits = (*where, download_count.c.used < token.max_downloads)
            counted = update(download_count).where(*fits).values(used=download_count.c.used + 1).returning(download_count.c.used)
            used = self._work.execute(counted).scalar()
            if used is None:
                raise token_refusal("used-up")
        left = max(0, token.max_downloads - used)
        started = continued or self._start(token, artifact, length, size, now)
        return DownloadFacts(id=started, is_new=continued is None, downloads_left=left, is_last=left == 0)

    def finish(self, facts: DownloadFacts, *, length: int, sent: int) -> None:
        """Give back what was promised and not sent, so that a broken connection can be resumed as often as it breaks.

        Args:
            facts: As `begin` answered; a fetch that is not counted changes nothing.
            length: Bytes that were promised then.
            sent: Bytes that were really sent, 0 to `length`.

        Raises:
            ValueError: more was sent than promised.
        """
        if not 0 <= sent <= length:
            raise ValueError("a fetch sends between nothing and what was promised")
        unsent = download.c.promised - (length - sent)
        self._work.execute(update(download).where(download.c.id == facts.id).values(promised=unsent))

    def is_open(self, token: TokenFacts, *, now: datetime) -> bool:
        """Whether a range could still continue a download of this token."""
        where = (
            download.c.jti == token.jti,
            download.c.started_at > now - WINDOW,
            download.c.promised < ALLOWANCE * download.c.size,
        )
        return self._work.execute(select(download.c.id).where(*where).limit(1)).first() is not None

    def _continue(self, token: TokenFacts, artifact: str, length: int, size: int, now: datetime) -> str | None:
        mine = (download.c.jti == token.jti, download.c.artifact == artifact)
        latest = self._work.execute(
            select(download.c.id).where(*mine, download.c.started_at > now - WINDOW).order_by(download.c.number.desc()).limit(1)
        ).scalar()
        fits = (download.c.id == latest, download.c.promised + length <= ALLOWANCE * size)
        promised = update(download).where(*fits).values(promised=download.c.promised + length).returning(download.c.id)
        found: str | None = self._work.execute(promised).scalar()
        return found

    def _start(self, token: TokenFacts, artifact: str, length: int, size: int, now: datetime) -> str:
        mine = (download.c.jti == token.jti, download.c.artifact == artifact)
        number = self._work.execute(select(func.coalesce(func.max(download.c.number), 0)).where(*mine)).scalar_one() + 1
        row: dict[str, Any] = {
            "id": new_jti(),
            "jti": token.jti,
            "artifact": artifact,
            "number": number,
            "size": size,
            "promised": length,
            "started_at": now,
        }
        self._work.execute(insert(download).values(row))
        return str(row["id"])
