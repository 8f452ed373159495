"""KV pairs: in order, by prefix, and with indices that tell what changed."""

from unittest.mock import patch

import pytest
from callboard.registry import departures
from callboard.registry.instance import DamagedValue
from callboard.registry.kv import KvStore, StoredKv, decode_kv, encode_kv
from callboard.registry.views import KvPair, KvTopic
from hypothesis import given
from hypothesis import strategies as st


def pair(key, index, value=b"", create=None):
    return KvPair(key, value, 0, create or index, index)


def store(*keys):
    kv = KvStore()
    for index, key in enumerate(keys, start=1):
        kv.put(pair(key, index))
    return kv


@given(st.binary(max_size=50), st.integers(0, 2**64 - 1), st.floats(0, 1e9))
def test_a_stored_value_reads_as_it_was_written(value, flags, ttl_s):
    stored = StoredKv(flags, ttl_s, value)
    assert decode_kv(encode_kv(stored)) == stored


@pytest.mark.parametrize(
    "damaged", [b"", b"\xff", b"\x93\x00\x00", encode_kv(StoredKv(1, 2, b""))[:-1]]
)
def test_bytes_that_are_no_pair_are_damaged(damaged):
    with pytest.raises(DamagedValue):
        decode_kv(damaged)


def test_keys_come_in_order_whatever_the_order_of_writing():
    kv = store("b", "a/2", "a", "a/10", "ä", "B")
    assert list(kv.keys("")) == ["B", "a", "a/10", "a/2", "b", "ä"]
    assert list(kv.keys("a")) == ["a", "a/10", "a/2"]
    assert [found.key for found in kv.pairs("a/")] == ["a/10", "a/2"]
    assert list(kv.keys("c")) == []


def test_a_put_replaces_and_a_removal_tells_what_went():
    kv = store("a")
    kv.put(pair("a", 7, b"new", create=1))
    assert kv.get("a") == pair("a", 7, b"new", create=1)
    assert kv.remove("a", 8) == pair("a", 7, b"new", create=1)
    assert kv.remove("a", 9) is None
    assert len(kv) == 0
    assert list(kv.keys("")) == []


def test_a_prefix_changes_with_what_is_under_it_and_with_nothing_else():
    kv = store("a/1", "a/2", "b")
    assert kv.modify_index(KvTopic("a/", recurse=True)) == 2
    kv.put(pair("b", 4))
    assert kv.modify_index(KvTopic("a/", recurse=True)) == 2
    assert kv.modify_index(KvTopic("", recurse=True)) == 4
    kv.remove("a/1", 5)
    assert kv.modify_index(KvTopic("a/", recurse=True)) == 5
    assert kv.modify_index(KvTopic("a/1", recurse=False)) == 5
    assert kv.modify_index(KvTopic("a/2", recurse=False)) == 2


def test_a_key_is_not_its_prefix():
    kv = store("a", "a/1")
    assert kv.modify_index(KvTopic("a", recurse=False)) == 1
    assert kv.modify_index(KvTopic("a", recurse=True)) == 2


def test_after_a_load_nothing_is_older_than_the_load():
    kv = KvStore()
    kv.load(pair("b", 3))
    kv.load(pair("a", 5))
    kv.loaded(9)
    assert list(kv.keys("")) == ["a", "b"]
    for topic in (KvTopic("a", recurse=False), KvTopic("zz", recurse=False)):
        assert kv.modify_index(topic) == 9
    for prefix in ("", "a", "zz"):
        assert kv.modify_index(KvTopic(prefix, recurse=True)) == 9


KEYS = st.text("ab/", max_size=3)


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=40), st.integers(0, 3))
def test_indices_are_never_too_low(steps, loaded):
    """Beside a dictionary of what changed when, with a memory of only two departures."""
    kv, shown, changed = KvStore(), {}, {}
    kv.loaded(loaded)
    with patch.object(departures, "DEPARTURES_MAX", 2):
        for index, (put, key) in enumerate(steps, start=loaded + 1):
            if put:
                kv.put(pair(key, index))
                shown[key] = changed[key] = index
            elif kv.remove(key, index) is not None:
                del shown[key]
                changed[key] = index
            assert list(kv.keys("")) == sorted(shown)
            for prefix in ("", "a", "a/", "b/b", key):
                under = [at for other, at in changed.items() if other.startswith(prefix)]
                found = kv.modify_index(KvTopic(prefix, recurse=True))
                assert max(under, default=0) <= found <= index
                assert [found.key for found in kv.pairs(prefix)] == sorted(
                    other for other in shown if other.startswith(prefix)
                )
            for other, at in changed.items():
                assert at <= kv.modify_index(KvTopic(other, recurse=False)) <= index
