"""Whom a client trusts, and who it is to the server: PEM files, named or in the environment."""

import os
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..tls import TlsError, client_context
from .errors import InvalidArgument

CA_VARIABLE: Final = "CALLBOARD_CA"
CERT_VARIABLE: Final = "CALLBOARD_CERT"
KEY_VARIABLE: Final = "CALLBOARD_KEY"


class Trust(NamedTuple):
    """What calls over TLS are made with; `anonymous`: no client certificate is shown."""

    context: ssl.SSLContext
    anonymous: bool


def trust_for(
    servers: Sequence[str], ca: str | None, cert: str | None, key: str | None
) -> Trust | None:
    """None when none of `servers` speaks TLS. Raises `InvalidArgument`."""
    if not any(server.startswith("https:") for server in servers):
        return None
    ca = ca or os.environ.get(CA_VARIABLE) or None
    cert = cert or os.environ.get(CERT_VARIABLE) or None
    key = key or os.environ.get(KEY_VARIABLE) or None
    if key is not None and cert is None:
        raise InvalidArgument("a key needs the certificate that it belongs to", field="cert")
    try:
        return Trust(client_context(ca, cert, key), anonymous=cert is None)
    except TlsError as error:
        raise InvalidArgument(str(error), field="ca or cert") from error
