"""An honest witness (C2SP tlog-witness) in a process of its own.

Usage: witness_server.py --state FILE --name NAME --seed HEX --log VKEY; prints its port and its verifier key, then serves.

It keeps, on disk and before it signs, the newest size and root of each log that it knows, and cosigns only what continues them.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.merkle import verify_consistency
from gateway.audit.note import Checkpoint, NoteVerifier, Signature, SignedNote, cosigned_message
from gateway.errors import VerificationFailed

MAX_BODY = 64 * 1024
MAX_PROOF = 63
LOCK = threading.Lock()


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, text: str = "", content_type: str = "text/plain") -> None:
        super().__init__(status)
        self.status, self.text, self.content_type = status, text, content_type


class Witness:
    """What it knows, and what it says."""

    def __init__(self, state: Path, name: str, seed: bytes, logs: list[NoteVerifier]) -> None:
        self.state, self.secret = state, Ed25519PrivateKey.from_private_bytes(seed)
        self.key = NoteVerifier(name, self.secret.public_key().public_bytes_raw(), kind=4)
        self.logs = logs

    def add_checkpoint(self, body: str) -> str:
        """The cosignature line."""
        head, separator, note = body.partition("\n\n")
        first, *lines = head.split("\n")
        if not separator or not first.startswith("old ") or not first[4:].isdigit() or len(lines) > MAX_PROOF:
            raise Refused(400)
        try:
            origin = Checkpoint.parse(SignedNote.parse(note).text).origin
            proof = [b64decode(line, validate=True) for line in lines]
        except (VerificationFailed, ValueError):
            raise Refused(400) from None
        keys = [key for key in self.logs if key.name == origin]
        if not keys:
            raise Refused(404)
        try:
            checkpoint = Checkpoint.verify(note, keys)
        except VerificationFailed:
            raise Refused(403) from None
        with LOCK:
            self._advance(checkpoint, int(first[4:]), proof)
        seconds = int(time.time())
        value = seconds.to_bytes(8) + self.secret.sign(cosigned_message(SignedNote.parse(note).text, seconds))
        return Signature(self.key.name, self.key.key_id, value).to_line()

    def _advance(self, checkpoint: Checkpoint, old: int, proof: list[bytes]) -> None:
        known = json.loads(self.state.read_text()) if self.state.exists() else {}
        size, root = known.get(checkpoint.origin, [0, ""])
        if old > checkpoint.size:
            raise Refused(400)
        if old != size or (size == checkpoint.size and size and root != checkpoint.root.hex()):
            raise Refused(409, f"{size}\n", "text/x.tlog.size")
        if 0 < size < checkpoint.size and not verify_consistency(
            old=size, new=checkpoint.size, old_root=bytes.fromhex(root), new_root=checkpoint.root, proof=proof
        ):
            raise Refused(422)
        fresh = self.state.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(json.dumps({**known, checkpoint.origin: [checkpoint.size, checkpoint.root.hex()]}))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.state)


def handler_of(witness: Witness) -> type[BaseHTTPRequestHandler]:
    """The HTTP around it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            if self.path != "/add-checkpoint" or length > MAX_BODY:
                self._answer(404, "", "text/plain")
                return
            try:
                line = witness.add_checkpoint(self.rfile.read(length).decode("utf-8", "replace"))
            except Refused as refused:
                self._answer(refused.status, refused.text, refused.content_type)
            else:
                self._answer(200, line, "text/plain")

        def _answer(self, status: int, text: str, content_type: str) -> None:
            raw = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--log", action="append", default=[])
    given = parser.parse_args()
    witness = Witness(given.state, given.name, bytes.fromhex(given.seed), [NoteVerifier.from_vkey(vkey) for vkey in given.log])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(witness))
    print(server.server_address[1], witness.key.vkey, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
