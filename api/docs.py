"""The page that shows the description: one file, no network but our own `/openapi.json`."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

from .call import Call
from .responses import Response

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


async def docs_page(call: Call) -> Response:
    body, policy = _page()
    guards = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    return Response(call.registry, body, content_type="text/html; charset=utf-8", extra=guards)


@cache
def _page() -> tuple[bytes, str]:
    """The page, and the policy that lets nothing run but what stands in it."""
    text = files(__package__).joinpath("docs.html").read_text("utf-8")
    allowed = {kind: _hash(inline) for kind, inline in _INLINE.findall(text)}
    policy = (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']};"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hash(inline: str) -> str:
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
