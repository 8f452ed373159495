"""Turning a decoder's complaint into an error that names the field and the next step."""

import re
from typing import Any, Final

import msgspec

from .errors import ApiError, invalid
from .inputs import MetaPairs, Ports

_AT: Final = re.compile(r" - at `(key` in `)?\$\.?(.*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`")
_PATTERN: Final = re.compile(r"Expected `str` matching regex .*", re.DOTALL)

_ADVICE: Final = {
    "port": "write a port from 1 to 65535",
    "ports": 'write {"NAME": {"port": 9100, "protocol": "tcp"}}, at most 64',
    "protocol": "write up to 15 letters, digits and '-', such as tcp or udp",
    "tags": "write at most 64 texts of 1 to 128 characters, without control characters",
    "meta": "write at most 64 pairs, keys of 1 to 128 and values of up to 512 characters",
    "ttl": 'write seconds, or a text such as "15s"; 0 for never',
    "status": "write passing, warning, critical or maintenance",
    "priority": "write a number from 0 to 65535",
    "weight": "write a number from 0 to 65535",
    "address": "write an IPv4 or IPv6 address or a host name, or leave it out",
    "node": "write up to 128 characters, without control characters",
    "output": "write up to 4096 characters",
    "instances": 'write a list of ["SERVICE", "ID"] or ["SERVICE", "ID", "NAMESPACE"]',
    "operations": 'write a list of {"op": "register" | "deregister" | "heartbeat", ...}',
}
_MAPPINGS: Final[dict[str, Any]] = {"ports": Ports, "meta": MetaPairs}


def problem_of(error: Exception, body: bytes | msgspec.Raw, prefix: str = "") -> ApiError:
    """`error` is what msgspec raised for `body`, `prefix` where in the request that stood."""
    if isinstance(error, RecursionError):
        return invalid(prefix or "body", "the JSON is nested too deeply: send it flat")
    if not isinstance(error, msgspec.ValidationError):
        return invalid(prefix or "body", f"this is not JSON: {error}")
    text = str(error)
    at = _AT.search(text)
    path = _with_key(at[2] + ("[...]" if at[1] else ""), body) if at else ""
    complaint = text[: at.start()] if at else text
    named = _UNKNOWN.search(complaint) or _MISSING.search(complaint)
    if named:
        path = f"{path}.{named[1]}" if path else named[1]
    advice = _ADVICE.get(re.split(r"[.\[]", path, maxsplit=1)[0], "see /docs")
    if _UNKNOWN.search(complaint):
        advice = "leave it out; /docs lists what there is"
    complaint = _PATTERN.sub("This text cannot stand here", complaint)
    field = f"{prefix}.{path}" if prefix and path else prefix or path or "body"
    return invalid(field, f"{complaint}; {advice}".replace("`", "'"))


def _with_key(path: str, body: bytes | msgspec.Raw) -> str:
    """msgspec writes `ports[...].port` for whichever port it was: find out, `ports.NAME.port`."""
    name, dots, rest = path.partition("[...]")
    if not dots or name not in _MAPPINGS:
        return path
    for key, value in _mapping(body, name).items():
        try:
            msgspec.convert({key: value}, _MAPPINGS[name])
        except msgspec.ValidationError:
            return f"{name}.{key[:128]}{rest}"
    return path


def _mapping(body: bytes | msgspec.Raw, name: str) -> dict[str, Any]:
    try:
        mapping = msgspec.json.decode(body)[name]
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # worse is to come further on
        return {}
    return mapping if isinstance(mapping, dict) else {}
