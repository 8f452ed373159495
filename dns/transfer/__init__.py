"""Zones for ordinary secondaries: AXFR and IXFR out, NOTIFY, TSIG, and who may have them."""

__all__: list[str] = []
