"""What those who look after a process ask it: does it live, is it ready, what does it count."""

from __future__ import annotations

from flask import Response, current_app, jsonify
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from gateway.access import GatewayKeys
from gateway.errors import Unavailable
from gateway.web.guard import declares, house
from gateway.web.metrics import exposition

STANDING = "ticketgate.standing"
api = APIBlueprint("health", __name__, abp_tags=[Tag(name="outside")])


@api.get("/healthz")
@declares("public", audit=None)
def healthz() -> Response:
    """Whether the process lives."""
    return jsonify({"status": "ok"})


@api.get("/readyz")
@declares("public", audit=None)
def readyz() -> Response:
    """Whether database and store answer."""
    rooms = house()
    rooms.database.ping()
    rooms.store.check(writes=current_app.config["WRITES_ARTIFACTS"])
    with rooms.database.read() as work:
        if not GatewayKeys(work, rooms.sealing).list():
            raise Unavailable("the gateway has no keys yet: run ticketgate init")
    return jsonify({"status": "ready"})


@api.get("/metrics")
@declares("public", audit=None)
def metrics() -> Response:
    """Counters of this server, and how the gateway stands, for Prometheus."""
    return Response(exposition(current_app.extensions[STANDING]), content_type=CONTENT_TYPE_PLAIN_0_0_4)
