"""The instances of one service as the last events left them, and how old that is."""

from .results import HANDED_OUT, DeleteEvent, Event, Instance, PutEvent, SnapshotEvent


class LocalCopy:
    """Plain values; whoever holds it brings the time."""

    def __init__(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._by_tag: dict[str | None, tuple[Instance, ...]] = {}
        self._heard_at = 0.0
        self._live = False
        self.filled = False
        """Whether it has ever held a whole snapshot."""
        self.at_index = 0

    def age_s(self, now: float) -> float:
        """0 while the server keeps telling; else the time since it was last heard."""
        return 0.0 if self._live else now - self._heard_at

    def apply(self, event: Event) -> None:
        match event:
            case SnapshotEvent():
                self._instances = {instance.id.lower(): instance for instance in event.instances}
                self.filled = True
            case PutEvent():
                if self._modify_index(event.instance) <= event.index:
                    self._instances[event.instance.id.lower()] = event.instance
            case DeleteEvent():
                if self._modify_index(event.instance) <= event.index:
                    self._instances.pop(event.instance.id.lower(), None)
        self._by_tag.clear()
        self.at_index = event.index

    def _modify_index(self, instance: Instance) -> int:
        """What is held may be newer: a snapshot already shows what changed while it was sent."""
        held = self._instances.get(instance.id.lower())
        return held.modify_index if held else 0

    def heard(self, now: float) -> None:
        """The server lives, and has told everything up to now."""
        self._heard_at = now
        self._live = True

    def lost(self) -> None:
        """The connection is gone: from now on the copy ages."""
        self._live = False

    def all(self) -> tuple[Instance, ...]:
        """By id, whatever their status."""
        return tuple(sorted(self._instances.values(), key=lambda instance: instance.id.lower()))

    def candidates(self, tag: str | None) -> tuple[Instance, ...]:
        """Who may be picked: those handed out, with the tag, of the best priority only.

        As clients of SRV records do it (RFC 2782): a lower number is used before a higher.
        """
        kept = self._by_tag.get(tag)
        if kept is None:
            fit = [
                instance
                for instance in self.all()
                if instance.status in HANDED_OUT and (tag is None or tag in instance.tags)
            ]
            best = min((instance.priority for instance in fit), default=0)
            kept = tuple(instance for instance in fit if instance.priority == best)
            self._by_tag[tag] = kept
        return kept
