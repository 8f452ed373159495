"""How a user writes who forms a cluster: `a=HOST:PORT,b=HOST:PORT,c=HOST:PORT`."""

import re
from typing import Final

from .addresses import Address, parse_address

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)

ClusterList = dict[str, Address]
"""Nodes by name, and where their peers reach them; in the order of the names."""


def parse_node_name(text: str) -> str:
    """Raises `ValueError` that says what to write."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} cannot name a node: write up to 63 letters, digits, '-', '_' and '.'"
        )
    return text


def parse_cluster(text: str) -> ClusterList:
    """The same list in another order is the same cluster. Raises `ValueError`."""
    nodes: ClusterList = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, address = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} is not NAME=HOST:PORT: write a=10.0.0.1:8300,b=...")
        parse_node_name(name)
        if name in nodes:
            raise ValueError(f"the name {name!r} is used twice: every node needs one of its own")
        nodes[name] = parse_address(address)
    if not nodes:
        raise ValueError("it names no node: write a=HOST:PORT,b=HOST:PORT,c=HOST:PORT")
    _refuse_shared_addresses(nodes)
    return dict(sorted(nodes.items()))


def _refuse_shared_addresses(nodes: ClusterList) -> None:
    seen: dict[Address, str] = {}
    for name, address in nodes.items():
        if address in seen:
            raise ValueError(f"{seen[address]!r} and {name!r} share the address {address}")
        seen[address] = name
