"""The copy of the board, against a dict of dicts; and the projection that fills it."""

import pytest
from callboard.dns.names import DEFAULT
from callboard.dns.projection import id_prefix, key_of, pack_record
from callboard.dns.record import (
    Extras,
    facets_of,
    is_handed_out,
    protocol_of,
    tag_facet,
    unpack_record,
)
from callboard.dns.store import SMALL_MAX, Store
from callboard.registry.instance import Instance, Port
from callboard.registry.names import DEFAULT_NAMESPACE
from hypothesis import given, settings
from hypothesis import strategies as st

IDS = [f"i{n}" for n in range(2 * SMALL_MAX + 2)]
INSTANCES = st.builds(
    Instance,
    service=st.sampled_from(("web", "Db")),
    namespace=st.sampled_from(("default", "prod")),
    id=st.sampled_from(IDS),
    address=st.sampled_from(("10.0.0.1", "2001:db8::1", "db.example.com", "no good")),
    port=st.none() | st.integers(1, 65535),
    tags=st.lists(st.sampled_from(("v1", "V2", "x" * 64, "a.b", "")), max_size=2).map(tuple),
    meta=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    ports=st.just({}) | st.just({"Metrics": Port(9100, "UDP")}),
    protocol=st.sampled_from(("tcp", "udp")),
    status=st.sampled_from(("passing", "warning", "critical", "maintenance")),
)


def test_the_default_namespace_is_the_registrys():
    assert DEFAULT_NAMESPACE.encode() == DEFAULT


@given(INSTANCES)
def test_a_record_keeps_what_dns_needs(instance):
    packed = pack_record(instance)
    record = unpack_record(packed)
    assert protocol_of(packed) == record.extras.protocol
    assert record.id == instance.id.encode()
    assert record.handed_out == (instance.status in ("passing", "warning"))
    assert record.port == (instance.port or 0)
    assert record.extras == Extras(
        instance.protocol.encode(),
        tuple(tag.lower().encode() for tag in instance.tags if tag in ("v1", "V2")),
        ((b"metrics", b"udp", 9100),) if instance.ports else (),
        record.extras.text,
    )
    assert len(record.extras.text) == len(instance.meta)


ADDRESSES = ["10.0.0.1", "010.0.0.1", "1.2.3", "::1", "fe80::1%eth0", "", ".", "x..y", "\ud800"]


@pytest.mark.parametrize("text", ADDRESSES)
def test_any_address_can_be_packed(text, make_instance):
    unpack_record(pack_record(make_instance(address=text)))


def test_a_plain_record_is_small(make_instance):
    assert len(pack_record(make_instance(id="web-123456"))) == 22


@given(st.lists(st.tuples(INSTANCES, st.integers(0, 3)), max_size=120))
@settings(max_examples=150, deadline=None)
def test_the_store_holds_what_a_dict_would(changes):
    store, model = Store(), {}
    for instance, dice in changes:
        key = key_of(instance.namespace, instance.service)
        if dice:
            record = pack_record(instance)
            model.setdefault(key, {})[instance.id] = record
            store.apply(key, record)
        else:
            store.apply(key, id_prefix(instance.id))
            model.get(key, {}).pop(instance.id, None)
            if key in model and not model[key]:
                del model[key]
    agree(store, model)


def test_a_service_grows_into_a_crowd_and_back(make_instance):
    store, model = Store(), {b"web": {}}
    for instance_id in IDS:
        tags = ("v2",) if instance_id.endswith("2") else ()
        record = pack_record(make_instance(id=instance_id, tags=tags))
        model[b"web"][instance_id] = record
        store.apply(b"web", record)
        agree(store, model)
    assert store.is_crowd(b"web")
    for instance_id in IDS[1:]:
        del model[b"web"][instance_id]
        store.apply(b"web", id_prefix(instance_id))
        agree(store, model)
    assert not store.is_crowd(b"web")
    store.apply(b"web", id_prefix(IDS[0]))
    assert not store.has_service(b"web")


def agree(store, model):
    assert store.services == len(model)
    assert store.instances == sum(map(len, model.values()))
    namespaces = {(key.partition(b".")[2] or b"default") for key in model}
    spoken = {
        (key.partition(b".")[2] or b"default", unpack_record(record).extras.protocol)
        for key, records in model.items()
        for record in records.values()
    }
    for namespace in (b"default", b"prod", b"other"):
        for protocol in (b"tcp", b"udp", b"sctp"):
            assert store.has_protocol(namespace, protocol) == ((namespace, protocol) in spoken)
        assert store.has_namespace(namespace) == (namespace in namespaces)
    for key in (b"web", b"db", b"web.prod", b"db.prod"):
        held = model.get(key, {})
        assert store.has_service(key) == bool(held)
        exists, shown = store.find(key)
        assert exists == bool(held)
        assert sorted(shown) == sorted(filter(is_handed_out, held.values()))
        tagged = [one for one in held.values() if tag_facet(b"v2") in facets_of(unpack_record(one))]
        exists, shown = store.find(key, tag_facet(b"v2"))
        assert exists == bool(tagged)
        assert sorted(shown) == sorted(filter(is_handed_out, tagged))
        for instance_id in IDS:
            assert store.one(key, instance_id.encode()) == held.get(instance_id)


def test_weights_are_scaled_as_far_as_sixteen_bits_go(make_instance):
    def weight(registered, scale):
        return unpack_record(pack_record(make_instance(weight=registered), scale)).weight

    assert [weight(1, 1), weight(0, 256), weight(10, 256)] == [1, 0, 2560]
    assert [weight(255, 256), weight(256, 256), weight(65535, 65535)] == [65280, 65535, 65535]
