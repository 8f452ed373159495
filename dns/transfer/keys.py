"""The keys of TSIG and the file they come from, as `tsig-keygen` and `keymgr -t` write it."""

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..errors import DnsFrontError
from ..wire import labels_of, name_bytes

ALGORITHMS: Final = {
    b"\x0bhmac-sha256\0": "sha256",
    b"\x0bhmac-sha384\0": "sha384",
    b"\x0bhmac-sha512\0": "sha512",
}
"""Wire names and hash functions. MD5 and SHA-1 are not among them: RFC 8945 section 6 wants no
new use of either, and nobody who configures callboard has an old one."""
SECRET_BYTES_MIN: Final = 16
"""What RFC 8945 section 8 calls for, at least; less is a password or a slip of the hand."""
FILE_BYTES_MAX: Final = 1 << 20
"""Thousands of keys: a larger file is another one than was meant."""

_COMMENT: Final = re.compile(r'("[^"]*")|/\*.*?\*/|//[^\n]*|#[^\n]*', re.DOTALL)
"""Or a string, which is passed over: base64 may hold what looks like the start of a comment."""
_YAML_COMMENT: Final = re.compile(r"^[ ]*#[^\n]*\n?", re.MULTILINE)
_STATEMENT: Final = re.compile(r'\s*key\s+"?([^\s"{;]+)"?\s*\{([^{}]*)\}\s*;')
_CLAUSE: Final = re.compile(r'\s*(algorithm|secret)\s+"?([^\s";]+)"?\s*;')
_YAML: Final = re.compile(
    r"\s*-\s*id:[ ]*(\S+)[ ]*\n\s*algorithm:[ ]*(\S+)[ ]*\n\s*secret:[ ]*(\S+)[ ]*(?:\n|\Z)"
)


class BadKeyFile(DnsFrontError):
    """The file cannot be used; the text says why and never holds a secret."""


class Key(NamedTuple):
    """`name` and `algorithm` are names on the wire, in lower case."""

    name: bytes
    algorithm: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.name!r})"  # the secret must not reach a log or a traceback


Keys = Mapping[bytes, Key]
"""By name on the wire."""


def key_name(text: str) -> bytes:
    """A key's name on the wire, in lower case. Raises `ValueError`."""
    return name_bytes(labels_of(text.strip('"')))


def read_key_file(path: str) -> dict[bytes, Key]:
    """Raises `BadKeyFile`."""
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_BYTES_MAX:
                raise BadKeyFile(f"{path}: is no key file: name one that tsig-keygen has made")
            if status.st_mode & 0o077:
                raise BadKeyFile(f"{path}: others than its owner may use it: chmod 600 {path}")
            text = file.read()
    except OSError as error:
        raise BadKeyFile(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadKeyFile(f"{path}: is not text: name a file that tsig-keygen has made") from error
    try:
        return parse_keys(text)
    except ValueError as error:
        raise BadKeyFile(f"{path}: {error}") from None  # the cause may quote a secret


def parse_keys(text: str) -> dict[bytes, Key]:
    """The keys of BIND's `key` statements or Knot's `key:` section. Raises `ValueError`."""
    section = re.fullmatch(r"\s*key:[ ]*\n(.*)", _YAML_COMMENT.sub("", text), re.DOTALL)
    found = _of_yaml(section[1]) if section else _of_statements(_without_comments(text))
    keys: dict[bytes, Key] = {}
    for name, algorithm, secret in found:
        key = _key(name, algorithm, secret)
        if key.name in keys:
            raise ValueError(f"the key {name} stands there twice: give it another name")
        keys[key.name] = key
    if not keys:
        raise ValueError("holds no key: write what tsig-keygen prints")
    return keys


def _without_comments(text: str) -> str:
    return _COMMENT.sub(lambda found: found[1] or " ", text)


def _of_statements(text: str) -> list[tuple[str, str, str]]:
    found = []
    at = 0
    while statement := _STATEMENT.match(text, at):
        at = statement.end()
        clauses = dict(_CLAUSE.findall(statement[2]))
        if _CLAUSE.sub("", statement[2]).strip() or clauses.keys() != {"algorithm", "secret"}:
            raise ValueError(f"the key {statement[1]} needs one algorithm and one secret")
        found.append((statement[1], clauses["algorithm"], clauses["secret"]))
    _nothing_left(text[at:], len(found))
    return found


def _of_yaml(text: str) -> list[tuple[str, str, str]]:
    found = []
    at = 0
    while entry := _YAML.match(text, at):
        at = entry.end()
        found.append((entry[1], entry[2], entry[3].strip('"')))
    _nothing_left(text[at:], len(found))
    return found


def _nothing_left(rest: str, count: int) -> None:
    if rest.strip():
        raise ValueError(f"cannot be understood after its first {count} keys")


def _key(name: str, algorithm: str, secret: str) -> Key:
    try:
        wire_algorithm = key_name(algorithm)
        wire_name = key_name(name)
    except ValueError:
        raise ValueError(f"the key {name} is no domain name, or its algorithm is none") from None
    if wire_algorithm not in ALGORITHMS:
        raise ValueError(
            f"the key {name}: {algorithm} is not accepted: make one for hmac-sha256, hmac-sha384"
            " or hmac-sha512"
        )
    try:
        packed = base64.b64decode(secret, validate=True)
    except binascii.Error:
        raise ValueError(f"the key {name}: its secret is not base64") from None
    if len(packed) < SECRET_BYTES_MIN:
        raise ValueError(f"the key {name}: its secret has less than {SECRET_BYTES_MIN} bytes")
    return Key(wire_name, wire_algorithm, packed)
