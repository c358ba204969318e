"""How long a killed worker's release takes to be taken over and to be finished, in real processes.

`python -m tests.bench.jobs [times]` plays the end-to-end tests of killed workers again and prints their figures: on SQLite the
worker that `up` starts anew, on PostgreSQL a second worker elsewhere. A figure holds for the machine and its load.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

CASES = {
    "SQLite, restarted by `up`": "test_up_starts_another_worker_and_the_killed_ones_release_comes_out_once",
    "PostgreSQL, a second worker": "test_a_second_worker_elsewhere_takes_over_by_heartbeat",
}
FIGURE = re.compile(r"(take over|finished) after (\d+\.\d) s")


def measure(test: str) -> dict[str, float]:
    """Seconds from the kill to the take-over and to the end."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", f"tests/e2e/test_jobs.py::{test}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {name: float(seconds) for name, seconds in FIGURE.findall(answer.stdout)}
    if answer.returncode != 0 or len(found) != 2:
        raise SystemExit(answer.stdout[-2000:])
    return found


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for name, test in CASES.items():
        for _ in range(times):
            found = measure(test)
            load = os.getloadavg()[0]
            print(
                f"{name:30} taken over after {found['take over']:5.1f} s, finished after {found['finished']:5.1f} s (load {load:.1f})"
            )


if __name__ == "__main__":
    main()
