"""A real worker in which one thing breaks per job: `python -m tests.integration.planted_worker HOME PLAN.json [URL]`.

The plan names a fault by release or small job. What takes no part in the fault is a stand-in, so that nothing has to be computed.
Runs until its standard input ends.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from dbos._sys_db import SystemDatabase

from gateway.cli.compose import open_house
from gateway.errors import NotRecorded
from gateway.jobs import child, idle, rim, small
from gateway.jobs import produce as producing
from gateway.jobs import worker as working
from gateway.settings import Settings
from tests.integration.stand_in import run_stand_in

HELLO = (sys.executable, "-S", "-c", "import sys; sys.stdin.read(); print('a library says hello')")


class Lost(Exception):
    """What nobody foresaw."""


def once(names: list[str], act: Callable[..., Any], broken: Callable[[], Exception], *, of: Callable[..., str]) -> Any:
    """The act, which breaks the first time it is done for each of these names."""
    left = set(names)

    def planted(*arguments: Any, **named: Any) -> Any:
        name = of(*arguments, **named)
        if name in left:
            left.discard(name)
            raise broken()
        return act(*arguments, **named)

    return planted


def plant(plan: dict[str, str]) -> None:
    def having(*faults: str) -> list[str]:
        return [name for name, fault in plan.items() if fault in faults]

    def production(order: Any, **arguments: Any) -> Any:
        match plan.get(order.release_id):
            case "full-disk":
                raise OSError(errno.ENOSPC, "No space left on device", "/a/path/nobody/may/see")
            case "garbled":
                return child.run_production(order, **arguments)
        return run_stand_in(order, **arguments)

    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    child.PROGRAM = HELLO
    producing.run_production = production
    small._inspect = full  # what a small job does
    not_recorded = lambda: NotRecorded("planted")  # noqa: E731
    producing.take_up = once(having("take-up"), producing.take_up, not_recorded, of=lambda _house, name, **_: name)
    producing.note_reading = once(
        having("reading"), producing.note_reading, not_recorded, of=lambda _house, taken, **_: taken.release.id
    )
    # The engine could not note how a step ended; and neither, for some, how the workflow did.
    SystemDatabase.record_operation_result = once(
        [f"release:{name}" for name in having("step-lost", "all-lost")],
        SystemDatabase.record_operation_result, Lost, of=lambda _self, result, **_: result["workflow_uuid"],
    )  # fmt: skip
    SystemDatabase.update_workflow_outcome = once(
        [f"release:{name}" for name in having("all-lost")],
        SystemDatabase.update_workflow_outcome, Lost, of=lambda _self, name, *_, **__: name,
    )  # fmt: skip


def main() -> None:
    home, plan, *database = sys.argv[1:]
    plant(json.loads(Path(plan).read_text("utf-8")))
    rim.WAITS = (0.1, 0.1)
    working.LOOK_EVERY, idle.LOOKS, idle.SETTLED_AFTER = 1.0, 5, timedelta()
    working.Worker(open_house(Settings(home=Path(home), database=database[0] if database else None))).start()
    sys.stdin.read()
    working.os._exit(0)


if __name__ == "__main__":
    main()
