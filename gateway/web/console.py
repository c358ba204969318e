"""The console: one page that shows what this gateway is and where to go; people's work is done with the command line.

Invariants: the page holds no data and no secret; everything on it is public.
"""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from markupsafe import escape

from gateway.web.guard import declares, house

api = APIBlueprint("console", __name__, abp_tags=[Tag(name="console")])

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Ticketgate</title>
<style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1c2430;background:#fff}}
code{{background:#eef1f5;padding:.1em .3em;border-radius:.2em}}li{{margin:.3rem 0}}
@media(prefers-color-scheme:dark){{body{{color:#dfe6ee;background:#12161c}}code{{background:#232a33}}a{{color:#8ab8ff}}}}
</style></head><body>
<h1>Ticketgate</h1>
<p>Governed release of synthetic data. This gateway is <code>{issuer}</code>.</p>
<ul>
<li><a href="/openapi.json">The interface (OpenAPI 3.1)</a></li>
<li><a href="/.well-known/jwks.json">Public keys</a></li>
<li><a href="/.well-known/oauth-authorization-server">Token endpoint metadata</a></li>
<li><a href="/readyz">Is it ready?</a></li>
</ul>
<p>Ask for a release: <code>ticketgate request --help</code>. Verify one: <code>ticketgate verify bundle/</code>.</p>
</body></html>
"""


@api.get("/console/")
@declares("public", audit=None)
def page() -> Response:
    """What this gateway is and where to go."""
    body = PAGE.format(issuer=escape(house().issuer))
    response = Response(body, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response
