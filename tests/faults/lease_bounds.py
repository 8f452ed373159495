"""Nothing that was renewed is dropped before its time; nothing dead stays beyond its bound."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from .history import Call, Event

SECOND_NS = 1_000_000_000


def dropped(calls: Iterable[Call], events: Iterable[Event]) -> list[str]:
    """Leases that ended although the board had promised their TTL anew.

    A lease runs from some moment between the call and the return of its renewal, so an end seen
    before call + TTL came too early. A renewal that is told `unknown_instance` shows an end too.
    """
    kept: dict[str, list[Call]] = defaultdict(list)
    ends: dict[str, list[tuple[int, str]]] = defaultdict(list)
    removed: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.kind in ("renew", "register") and call.outcome == "ok":
            kept[call.key].append(call)
        elif call.kind == "renew" and call.said == "unknown_instance":
            ends[call.key].append((call.return_ns, "a renewal was told that it is unknown"))
        elif call.kind == "deregister" and call.outcome != "fail":
            removed[call.key].append(call)
    for event in events:
        if event.kind == "delete" and event.reason == "expired":
            ends[event.key].append((event.seen_ns, f"it expired at index {event.index}"))
    return [
        f"{key}: {what}, {(end_ns - promise.call_ns) / SECOND_NS:.2f} s after a renewal"
        f" for {promise.output} s"
        for key, found in ends.items()
        for end_ns, what in found
        if (promise := _promise(kept[key], end_ns)) and not _was_removed(removed[key], promise)
    ]


def _promise(kept: Iterable[Call], end_ns: int) -> Call | None:
    """The renewal that was acknowledged before the end was seen, and should have outlived it."""
    for call in kept:
        if call.return_ns <= end_ns < call.call_ns + float(call.output) * SECOND_NS:
            return call
    return None


def _was_removed(removed: Iterable[Call], promise: Call) -> bool:
    """Somebody asked for its removal, perhaps without an answer, after the promise."""
    return any(call.return_ns >= promise.call_ns for call in removed)


def overdue(
    last_sign_ns: Mapping[str, int],
    gone_ns: Mapping[str, int],
    *,
    ttl_s: float,
    keeper_changes: int,
    bound_s: float,
    able_since_ns: int = 0,
) -> list[str]:
    """Dead registrations that stayed: `last_sign_ns` is when each was last renewed, or might have
    been; nothing can be removed before `able_since_ns`, when the last fault was healed."""
    found = []
    for key, last_ns in last_sign_ns.items():
        allowed_s = ttl_s * (1 + keeper_changes) + bound_s
        limit_ns = max(last_ns, able_since_ns) + int(allowed_s * SECOND_NS)
        gone = gone_ns.get(key)
        if gone is None or gone > limit_ns:
            late = "never" if gone is None else f"{(gone - limit_ns) / SECOND_NS:.2f} s late"
            found.append(f"{key} is dead and went {late}, allowed were {allowed_s:g} s")
    return found
