"""A service registry and authoritative DNS server."""

__version__ = "0.1.0"

__all__ = ["__version__"]
