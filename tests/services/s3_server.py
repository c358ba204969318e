"""A real S3 server for the length of a test session, and why there is none when there is none.

Invariants:
    - Nothing is left running: the server ends with the context, and by itself when this process is killed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("radosgw.sh")
ACCESS_KEY = "GWACCESS"
SECRET_KEY = "GWSECRETGWSECRET"
KMS_KEY = "testkey-1"


class NoServer(Exception):
    """No S3 server can be had on this machine."""


@dataclass(frozen=True)
class S3Server:
    """Where it listens."""

    endpoint: str


def free_ports(count: int = 3) -> int:
    """The first of some neighbouring ports that nobody uses."""
    for first in range(18400, 19000, 10):
        sockets = []
        try:
            for port in range(first, first + count):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
        return first
    raise NoServer("no free ports")


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Start the server; about 15 seconds, a minute more where its packages have to be installed first."""
    folder = Path(tempfile.mkdtemp(prefix="ticketgate-s3-"))
    port = free_ports()
    try:
        command = ["bash", str(SCRIPT), "install"]
        subprocess.run(command, check=True, timeout=280, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        command = ["bash", str(SCRIPT), "start", str(folder), str(port), str(os.getpid())]
        subprocess.run(command, check=True, timeout=240, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield S3Server(f"http://127.0.0.1:{port}")
    except subprocess.TimeoutExpired as error:
        raise NoServer(f"radosgw was not there after {error.timeout:.0f} s (tests/services/radosgw.sh)") from None
    except subprocess.CalledProcessError as error:
        if error.returncode == 3:
            raise NoServer("radosgw is not installed here and this user may not install it (tests/services/radosgw.sh)") from None
        raise
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop", str(folder)], check=False, timeout=60, stdout=subprocess.DEVNULL)  # noqa: S607
        shutil.rmtree(folder, ignore_errors=True)
