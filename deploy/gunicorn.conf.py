# ruff: noqa: INP001 - gunicorn reads this file by path
"""gunicorn for the API: threads for calls that wait for the database, nothing of a process shared by fork.

Start with `gunicorn --config gunicorn.conf.py 'wsgi:create()'` in this folder.
Downloads go to a process of their own, see nginx.conf.
"""

import os
import tempfile

bind = os.environ.get("TICKETGATE_BIND", "0.0.0.0:8080")  # inside a container, behind nginx
worker_class = "gthread"
workers = int(os.environ.get("TICKETGATE_WEB_PROCESSES", "2"))
threads = int(os.environ.get("TICKETGATE_WEB_THREADS", "16"))
preload_app = False  # a house has threads and connections, which do not survive a fork
timeout = 60
graceful_timeout = 25
keepalive = 15
max_requests = 20_000
max_requests_jitter = 2_000
limit_request_line = 4094
limit_request_fields = 40
limit_request_field_size = 16_384  # a release token and a proof of possession together
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - heartbeats in memory, not on a slow disk
control_socket_disable = True  # the container's root is read-only, and nobody talks to it
accesslog = None  # the gateway's own log is the record; paths hold release ids
errorlog = "-"
server_software = "ticketgate"


def on_starting(server: object) -> None:
    """Keep the counters of all worker processes in one folder, so that a scrape of any of them shows their sum."""
    del server
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="ticketgate-metrics-"))


def child_exit(server: object, worker: object) -> None:
    """Take the gauges of a worker that has ended out of the sum; its counters stay in it."""
    from prometheus_client.multiprocess import mark_process_dead

    del server
    mark_process_dead(worker.pid)  # type: ignore[attr-defined, no-untyped-call]  # gunicorn gives its own worker
