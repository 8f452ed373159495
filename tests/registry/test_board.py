"""The board fed with random changes, beside a dictionary that is searched from end to end."""

from collections import Counter

import pytest
from callboard.registry import departures
from callboard.registry.board import Board
from callboard.registry.engine import Change, Pair
from callboard.registry.instance import HANDED_OUT, DamagedValue, Instance, Status, encode_instance
from callboard.registry.kv import KvStore, StoredKv, encode_kv
from callboard.registry.names import InstanceName, instance_key, kv_key
from callboard.registry.views import KvPair, KvTopic, Listed, ServicesTopic, ServiceTopic
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

NAMESPACES = ["default", "Blue"]
SERVICES = ["web", "Web", "db"]
IDS = ["a", "A", "b", "c"]
KV_KEYS = ["", "a", "a/", "a/b", "a/c", "ab", "b", "z/é", "\U0001f3ad"]

INSTANCES = st.builds(
    Instance,
    service=st.sampled_from(SERVICES),
    namespace=st.sampled_from(NAMESPACES),
    id=st.sampled_from(IDS),
    address=st.just("10.0.0.1"),
    tags=st.sampled_from([(), ("v1",), ("v1", "v2"), ("v2", "v2")]),
    ttl=st.sampled_from([0.0, 15.0]),
    status=st.sampled_from(list(Status)),
)
NAMES = st.builds(
    InstanceName,
    st.sampled_from([name.lower() for name in NAMESPACES]),
    st.sampled_from([name.lower() for name in SERVICES]),
    st.sampled_from([name.lower() for name in IDS]),
)
TOPICS = [
    ServicesTopic(None),
    *(ServicesTopic(namespace.lower()) for namespace in NAMESPACES),
    *(ServiceTopic(n.lower(), s) for n in NAMESPACES for s in ("web", "db", "never")),
    *(KvTopic(key, recurse) for key in KV_KEYS for recurse in (False, True)),
]


def folded(instance):
    return InstanceName(instance.namespace.lower(), instance.service.lower(), instance.id.lower())


def about(topic, thing):
    """Whether a change to `thing`, an instance's name or a KV key, concerns `topic`."""
    match topic, thing:
        case KvTopic(key, recurse), str():
            return thing.startswith(key) if recurse else thing == key
        case ServiceTopic(namespace, service), InstanceName():
            return (namespace, service) == thing[:2]
        case ServicesTopic(namespace), InstanceName():
            return namespace in (None, thing.namespace)
    return False


def listed(instance, created, modified):
    return Listed(instance, created, modified, instance.ttl or None)


class BoardMachine(RuleBasedStateMachine):
    """The model keeps what is there, and for every topic when it last changed."""

    @initialize()
    def begin(self):
        self.board = Board()
        self.board.loaded(0)
        self.subscription = self.board.watches.subscribe(ServicesTopic(None), None)
        self.index = 0
        self.loaded = 0
        self.instances = {}
        self.kv = {}
        self.changed = Counter()
        self.pending = []
        self.expected = []

    def note(self, thing):
        for topic in TOPICS:
            if about(topic, thing):
                self.changed[topic] = self.index

    @rule(instance=INSTANCES)
    def put(self, instance):
        name = folded(instance)
        spelled = self.board.catalog.spelled(name, instance)
        assert tuple(part.lower() for part in spelled) == name
        last = self.instances.get(name)
        self.index += 1
        created = last.create_index if last else self.index
        self.instances[name] = listed(instance, created, self.index)
        value = encode_instance(instance)
        self.pending.append(Change(instance_key(name), value, self.index, created))
        self.expected.append((self.index, name, self.instances[name], last, False))
        self.note(name)

    @rule(name=NAMES, expired=st.booleans())
    def delete(self, name, expired):
        self.index += 1
        self.pending.append(Change(instance_key(name), None, self.index, 0, expired))
        last = self.instances.pop(name, None)
        if last is not None:
            self.expected.append((self.index, name, None, last, expired))
            self.note(name)

    @rule(key=st.sampled_from(KV_KEYS), text=st.binary(max_size=3), ttl_s=st.sampled_from([0, 9]))
    def put_kv(self, key, text, ttl_s):
        self.index += 1
        created = self.kv[key].create_index if key in self.kv else self.index
        self.kv[key] = KvPair(key, text, 7, created, self.index)
        value = encode_kv(StoredKv(7, ttl_s, text))
        self.pending.append(Change(kv_key(key), value, self.index, created))
        self.note(key)

    @rule(key=st.sampled_from(KV_KEYS))
    def delete_kv(self, key):
        self.index += 1
        self.pending.append(Change(kv_key(key), None, self.index, 0))
        if self.kv.pop(key, None):
            self.note(key)

    @rule()
    def apply(self):
        """Many changes become one batch, as the engine hands them on."""
        self.board.apply(self.pending, 0.0)
        self.pending = []
        events = self.subscription._events
        seen = [(e.index, e.name, e.listed, e.last, e.expired) for e in events]
        assert seen == self.expected
        events.clear()
        self.expected = []

    @rule()
    def load_afresh(self):
        """What a restart makes of the same pairs, in the engine's order of keys."""
        self.apply()
        pairs = [
            Pair(
                instance_key(name),
                encode_instance(one.instance),
                one.create_index,
                one.modify_index,
            )
            for name, one in self.instances.items()
        ] + [
            Pair(kv_key(key), encode_kv(StoredKv(flags, 0, value)), created, modified)
            for key, value, flags, created, modified in self.kv.values()
        ]
        self.board = Board()
        for pair in sorted(pairs):
            self.board.load([pair], 0.0)
        self.board.loaded(self.index)
        self.loaded = self.index
        self.subscription = self.board.watches.subscribe(ServicesTopic(None), None)

    @invariant()
    def agree(self):
        if self.pending:
            return
        assert self.board.index == self.index
        self.listings_agree()
        self.kv_agrees()
        for topic in TOPICS:
            # Exact for what changed since the load; before that only never too low.
            shown = self.board.modify_index(topic)
            assert self.changed[topic] <= shown <= max(self.changed[topic], self.loaded), topic

    def listings_agree(self):
        catalog = self.board.catalog
        for topic in TOPICS:
            if isinstance(topic, KvTopic):
                continue
            shown = [pair for page in catalog.pages(topic) for pair in page]
            names = [name for name, _ in shown]
            assert sorted(names) == sorted(n for n in self.instances if about(topic, n))
            for name, entry in shown:
                assert self.board.listed(name, entry, 0.0) == self.instances[name]
        assert catalog.instance_count == len(self.instances)
        assert catalog.service_count == len({name[:2] for name in self.instances})
        for namespace in ("default", "blue", "never"):
            sums = {s.name.lower(): s[1:] for s in catalog.summaries(namespace)}
            assert sums == self.expected_sums(namespace)

    def expected_sums(self, namespace):
        sums = {}
        for name, shown in self.instances.items():
            if name.namespace == namespace:
                count, passing, tags = sums.get(name.service, (0, 0, ()))
                passing += shown.instance.status in HANDED_OUT
                tags = sorted({*tags, *shown.instance.tags})
                sums[name.service] = (count + 1, passing, tags)
        return sums

    def kv_agrees(self):
        for prefix in (*KV_KEYS, "a/x"):
            keys = sorted(key for key in self.kv if key.startswith(prefix))
            assert list(self.board.kv.keys(prefix)) == keys
            assert self.board.kv.pairs(prefix) == [self.kv[key] for key in keys]
            assert self.board.kv.get(prefix) == self.kv.get(prefix)


BoardMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, print_blob=True
)
TestBoard = BoardMachine.TestCase


def an_instance(service="web", instance_id="a", **fields):
    return Instance(
        service=service, namespace="default", id=instance_id, address="10.0.0.1", **fields
    )


def put(instance, index, created=None):
    return Change(
        instance_key(folded(instance)), encode_instance(instance), index, created or index
    )


@pytest.fixture
def board():
    made = Board()
    made.loaded(0)
    return made


def test_the_first_spelling_stays_until_the_service_is_gone(board):
    first, later = an_instance("Web", "One"), an_instance("WEB", "ONE")
    assert board.catalog.spelled(folded(later), later) == ("default", "WEB", "ONE")
    board.apply([put(first, 1)], 0.0)
    assert board.catalog.spelled(folded(later), later) == ("default", "Web", "One")
    other = an_instance("wEB", "Two")
    assert board.catalog.spelled(folded(other), other) == ("default", "Web", "Two")
    board.apply([Change(instance_key(folded(first)), None, 2, 0)], 0.0)
    assert board.catalog.spelled(folded(later), later) == ("default", "WEB", "ONE")


def test_a_value_that_cannot_be_read_is_logged_and_the_others_are_shown(board, caplog):
    bad = Change(b"i/default/web/bad", b"\xc1", 1, 1)
    badly_named = Change(b"i/only-two", encode_instance(an_instance()), 2, 2)
    board.apply([bad, badly_named, put(an_instance(), 3)], 0.0)
    assert [message.args[0] for message in caplog.records] == [bad.key, badly_named.key]
    assert board.index == 3
    assert board.catalog.instance_count == 1


@pytest.mark.parametrize(
    "pair",
    [
        Pair(b"i/default/web/bad", b"\xc1", 1, 1),
        Pair(b"i/two", encode_instance(an_instance()), 1, 1),
        Pair(b"k/a", b"\x90", 1, 1),
        Pair(b"k/\xff", encode_kv(StoredKv(0, 0, b"")), 1, 1),
    ],
    ids=["value", "name", "kv value", "kv key"],
)
def test_a_damaged_pair_stops_the_load_and_is_named(board, pair):
    with pytest.raises(DamagedValue, match=r"the pair b'[ik]/"):
        board.load([pair], 0.0)


def test_leases_follow_what_is_registered(board):
    leased, name = an_instance(ttl=15.0), folded(an_instance())
    board.apply([put(leased, 1)], 100.0)
    assert board.expires_in_s(name, 110.0) == 5.0
    assert board.renew(name, 110.0) == 15.0
    assert board.expires_in_s(name, 110.0) == 15.0
    board.apply([put(an_instance(ttl=0), 2, 1)], 110.0)
    assert board.expires_in_s(name, 110.0) is None
    assert board.renew(name, 110.0) == 0
    board.apply([put(leased, 3, 1)], 120.0)
    assert board.expires_in_s(name, 120.0) == 15.0
    board.apply([Change(instance_key(name), None, 4, 0)], 121.0)
    assert len(board.leases) == 0
    assert board.renew(name, 121.0) is None


def test_nothing_that_is_being_deleted_can_be_renewed(board):
    """Neither with a lease nor without, until a change to the key is shown."""
    name, key = folded(an_instance()), instance_key(folded(an_instance()))
    board.apply([put(an_instance(ttl=15.0), 1)], 0.0)
    assert [key for key, _ in board.leases.run_out(20.0)] == [key]
    board.expiring.add(key)
    assert board.renew(name, 20.0) is None
    board.apply([put(an_instance(ttl=15.0, port=1), 2, 1)], 20.0)
    assert board.renew(name, 20.0) == 15.0


def test_pages_end_even_when_the_board_changes_between_them(board, monkeypatch):
    monkeypatch.setattr("callboard.registry.catalog.PAGE_INSTANCES_MAX", 3)
    board.apply([put(an_instance("web", f"w{n}"), n) for n in range(1, 8)], 0.0)
    board.apply([put(an_instance("db", f"d{n}"), n) for n in range(8, 12)], 0.0)
    pages = board.catalog.pages(ServicesTopic(None))
    first = next(pages)
    assert len(first) == 3
    gone = [
        Change(instance_key(InstanceName("default", "db", f"d{n}")), None, n + 4, 0)
        for n in range(8, 12)
    ]
    board.apply([*gone, put(an_instance("new", "n1"), 16)], 0.0)
    names = [name for page in [first, *pages] for name, _ in page]
    assert len(names) == len(set(names)) == 7


def test_keys_names_everything_on_the_board(board):
    board.apply([put(an_instance(), 1), Change(b"k/a", encode_kv(StoredKv(0, 0, b"")), 2, 2)], 0.0)
    revisions = {key: board.revision_of(key) for key in list(board.keys())}
    assert revisions == {b"i/default/web/a": 1, b"k/a": 2}
    assert board.revision_of(b"i/default/web/b") is None
    assert board.revision_of(b"k/b") is None


def test_a_departure_is_remembered_exactly_until_many_others_follow(monkeypatch):
    monkeypatch.setattr(departures, "DEPARTURES_MAX", 3)
    gone = departures.Departures()
    gone.reset(10)
    assert gone.index("never seen") == 10
    for index, thing in enumerate("abc", start=11):
        gone.went(thing, index)
    assert [gone.index(thing) for thing in "abc"] == [11, 12, 13]
    gone.went("d", 14)
    assert gone.index("a") == gone.floor == 11
    assert gone.index("never seen") == 11, "late enough for whatever was forgotten"
    gone.came_back("b")
    assert dict(gone.items()) == {"c": 13, "d": 14}


def test_forgotten_departures_are_never_understated(board, monkeypatch):
    """Of names and of keys: a reader that knows an older index is answered, perhaps early."""
    monkeypatch.setattr(departures, "DEPARTURES_MAX", 4)
    went = {}
    index = 0
    for number in range(40):
        instance, key = an_instance(f"s{number}"), f"dir/{number}"
        board.apply([put(instance, index + 1)], 0.0)
        board.apply([Change(kv_key(key), encode_kv(StoredKv(0, 0, b"")), index + 2, 1)], 0.0)
        board.apply([Change(instance_key(folded(instance)), None, index + 3, 0)], 0.0)
        board.apply([Change(kv_key(key), None, index + 4, 0)], 0.0)
        index += 4
        went[ServiceTopic("default", f"s{number}")] = index - 1
        went[KvTopic(key, recurse=False)] = went[KvTopic("dir/", recurse=True)] = index
        for topic, at in went.items():
            assert at <= board.modify_index(topic) <= index
    assert board.modify_index(ServicesTopic("default")) == index - 1


def test_a_prefix_is_not_told_of_its_neighbours():
    store = KvStore()
    store.loaded(0)
    store.put(KvPair("a/b", b"", 0, 1, 1))
    store.put(KvPair("b/c", b"", 0, 2, 2))
    store.remove("b/c", 3)
    assert store.modify_index(KvTopic("a/", recurse=True)) == 1
    assert store.modify_index(KvTopic("b", recurse=True)) == 3
    assert store.modify_index(KvTopic("c", recurse=True)) == 0
    assert store.modify_index(KvTopic("", recurse=True)) == 3
