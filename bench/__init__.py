"""Callboard beside its peers: every suite starts real servers on loopback and measures them."""
