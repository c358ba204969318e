"""Seal the gateway's private keys anew after their passphrase was replaced.

Invariants:
    - A key is replaced only by what opens to the same bytes, and only where the very bytes stand that were read: a key that is
      destroyed meanwhile stays destroyed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from gateway.access.gateway_keys import seal_context
from gateway.access.sealing import FileSealing
from gateway.db import Work
from gateway.db.tables.access import gateway_key as table

__all__ = ["older_seals", "reseal_keys"]


def older_seals(work: Work, sealing: FileSealing) -> int:
    """How many private keys the first secret does not open.

    Raises:
        VerificationFailed: one opens under no secret of the file.
    """
    return sum(not _is_current(sealing, row) for row in _sealed(work))


def reseal_keys(work: Work, sealing: FileSealing) -> int:
    """Seal under the first secret what an older one seals; answers how many. The caller commits.

    Raises:
        VerificationFailed: a key opens under no secret of the file; nothing was changed.
    """
    done = 0
    for row in _sealed(work):
        if _is_current(sealing, row):
            continue
        context = seal_context(row.kid, row.purpose)
        fresh = sealing.seal(sealing.open(row.sealed, context=context), context=context)
        same = (table.c.kid == row.kid, table.c.sealed == row.sealed)
        done += int(work.execute(update(table).where(*same).values(sealed=fresh)).rowcount)
    return done


def _sealed(work: Work) -> list[Any]:
    query = select(table.c.kid, table.c.purpose, table.c.sealed).where(table.c.sealed.is_not(None)).order_by(table.c.kid)
    return list(work.execute(query).all())


def _is_current(sealing: FileSealing, row: Any) -> bool:
    context = seal_context(row.kid, row.purpose)
    if sealing.is_current(row.sealed, context=context):
        return True
    sealing.open(row.sealed, context=context)
    return False
