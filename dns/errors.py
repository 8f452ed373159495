"""What the DNS front raises."""


class DnsFrontError(Exception):
    """The root of what the DNS front raises; the text is one line for people."""


class InvalidDnsConfig(DnsFrontError):
    """A zone, TTL, count or key that cannot be served."""
