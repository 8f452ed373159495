"""Settings: which source wins, and what is refused in which words."""

from dataclasses import fields
from socket import gethostname

import pytest
from callboard.addresses import Address
from callboard.api import inputs
from callboard.config import ConfigError, ServeConfig, read_toml, resolve
from callboard.settings import DEFAULT_TTL_S_MAX, DEFAULT_TTL_S_MIN, SETTINGS
from hypothesis import given
from hypothesis import strategies as st


def resolved(flags=None, environ=None, file=None):
    return resolve(flags or {}, environ or {}, file or {}, "node.toml")


def test_the_defaults_are_those_of_the_contract(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "host-a")
    assert resolved() == ServeConfig(
        name="host-a",
        data_dir="./callboard-data",
        http=Address("127.0.0.1", 8500),
        dns=Address("127.0.0.1", 8600),
        http_cert=None,
        http_key=None,
        http_client_ca=None,
        peer=Address("127.0.0.1", 8300),
        calls=Address("127.0.0.1", 0),
        peer_ca=None,
        peer_cert=None,
        peer_key=None,
        insecure_peers=False,
        zones=("callboard.internal",),
        ns_addresses=(),
        reverse_zones=(),
        dns_ttl_s=5,
        srv_weight_scale=1,
        dns_workers=1,
        dns_max_stale_s=3600,
        dns_outlive=True,
        dns_rrl="off",
        dns_rrl_rate=200,
        dns_rrl_slip=2,
        dns_cookie_secret=None,
        dns_nsid=None,
        dns_chaos="id",
        dns_transfer=(),
        dns_notify=(),
        dns_tsig_key=None,
        default_ttl_s=30,
        mass_expiry_share=0.15,
        mass_expiry_hold_s=300,
        forward=None,
        cluster=None,
        etcd=None,
        etcd_prefix="callboard/",
        etcd_ca=None,
        etcd_cert=None,
        etcd_key=None,
        etcd_user=None,
        log_level="info",
        log_format="text",
    )


def test_the_table_makes_every_field_and_no_other():
    assert {s.attribute for s in SETTINGS} == {field.name for field in fields(ServeConfig)}


GOOD = {
    "name": ("a", "b", "c"),
    "data-dir": ("/a", "/b", "/c"),
    "http": ("127.0.0.1:1", "[::1]:2", "localhost:0"),
    "dns": ("127.0.0.1:1", "[::1]:2", "localhost:0"),
    "peer": ("127.0.0.1:1", "[::1]:2", "localhost:0"),
    **dict.fromkeys(
        ("http-cert", "http-key", "http-client-ca", "peer-ca", "peer-cert", "peer-key"),
        ("/a", "/b", "/c"),
    ),
    "calls": ("127.0.0.1:1", "[::1]:2", "localhost:0"),
    "mass-expiry-share": ("20%", "0", "100"),
    "mass-expiry-hold": ("1m", "10s", "0s"),
    "insecure-peers": ("true", "0", "yes"),
    "zone": ("a.internal", "b.internal", "c.internal"),
    "dns-ttl": ("1s", "2", "0"),
    "srv-weight-scale": ("1", "256", "65535"),
    "dns-workers": ("1", "2", "3"),
    "dns-max-stale": ("5s", "unlimited", "2h"),
    "dns-outlive": ("no", "yes", "no"),
    "dns-rrl": ("on", "log", "off"),
    "dns-rrl-rate": ("1", "20", "3000"),
    "dns-rrl-slip": ("0", "1", "3"),
    "dns-cookie-secret": ("a", "b", "c"),
    "ns-address": ("192.0.2.1", "2001:DB8::0:1", "192.0.2.2"),
    "reverse-zone": ("10.0.0.0/8", "fd00::/8", "2.0.192.in-addr.arpa"),
    "dns-nsid": ("a", "b", "c"),
    "dns-chaos": ("off", "id", "all"),
    "dns-transfer": ("10.0.0.1", "10.0.0.0/8,key:a", "2001:db8::/32"),
    "dns-notify": ("10.0.0.1:53", "10.0.0.2:5353,key:a", "[2001:db8::1]:53"),
    "dns-tsig-key": ("/a", "/b", "/c"),
    "default-ttl": ("500ms", "1m", "1h"),
    "forward": ("9.9.9.9:53", "[2620:fe::fe]:53", "dns.local:53"),
    "cluster": tuple(f"{gethostname()}=10.0.0.1:1,{other}=10.0.0.2:1" for other in ("b", "c", "d")),
    "etcd": ("http://a", "https://b:1,unix:/c", "unix:///d"),
    "etcd-prefix": ("a", "b/", "c/d"),
    "etcd-ca": ("/a", "/b", "/c"),
    "etcd-cert": ("/a", "/b", "/c"),
    "etcd-key": ("/a", "/b", "/c"),
    "etcd-user": ("a:b", "b:c", "c:"),
    "log-level": ("debug", "warning", "error"),
    "log-format": ("json", "text", "json"),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.flag)
def test_a_flag_beats_the_variable_which_beats_the_file(setting):
    first, second, third = GOOD[setting.flag]
    flags, environ = {setting.flag: [first]}, {setting.variable: second}
    file = {setting.flag: third}

    def value(*sources):
        return getattr(resolved(*sources), setting.attribute)

    expected = [value({setting.flag: [text]}) for text in (first, second, third)]
    assert value(flags, environ, file) == expected[0]
    assert value(None, environ, file) == expected[1]
    assert value(None, None, file) == expected[2]
    assert value(None, {setting.variable: ""}, file) == expected[2]


def test_zones_may_be_several_from_each_source_and_are_folded():
    assert resolved({"zone": ["A.Internal.", "b.internal", "a.internal"]}).zones == (
        "a.internal",
        "b.internal",
    )
    assert resolved(None, {"CALLBOARD_ZONE": "a.x, b.x c.x"}).zones == ("a.x", "b.x", "c.x")
    assert resolved(None, None, {"zone": ["a.x", "b.x"]}).zones == ("a.x", "b.x")


def test_an_etcd_is_named_by_urls_with_a_port_or_without():
    config = resolved({"etcd": ["http://a, https://[::1]/,http://a:2379"], "etcd-user": ["me:a:b"]})
    assert config.etcd == ("http://a:2379", "https://[::1]:2379")
    assert (config.etcd_user.name, config.etcd_user.password) == ("me", "a:b")
    assert "a:b" not in repr(config)


def test_numbers_may_be_numbers_in_the_file():
    config = resolved(None, None, {"dns-ttl": 7, "default-ttl": 2.5, "dns-workers": 2})
    assert (config.dns_ttl_s, config.default_ttl_s, config.dns_workers) == (7, 2.5, 2)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"http": 8500}, r'node.toml: http: a int cannot .* write http = "127.0.0.1:8500"'),
        ({"zone": []}, r"node.toml: zone: a list"),
        ({"zone": ["a", 1]}, r"node.toml: zone: a list"),
        ({"dns-workers": True}, r"node.toml: dns-workers: a bool"),
        ({"name": {"a": 1}}, r"node.toml: name: a dict"),
        ({"dns_ttl": 5}, r"node.toml: dns_ttl: .* did you mean dns-ttl\?"),
        ({"qqq": 5}, r"node.toml: qqq: there is no such setting: the keys are name, "),
        ({"log-level": "loud"}, r"node.toml: log-level: 'loud' .* one of debug, "),
        ({"dns-workers": 0}, r"node.toml: dns-workers: '0' is no number of processes from 1 to"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_key_and_the_next_step(file, told):
    with pytest.raises(ConfigError, match=told):
        resolved(None, None, file)


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("name", "a b"), ("name", "x" * 64), ("data-dir", "a\0b"), ("http", "8500"),
        ("http", ":8500"), ("dns", "[::1]"), ("peer", "::1:8300"), ("zone", "a..b"),
        ("zone", "."), ("zone", "-a"), ("zone", "ä.internal"), ("zone", "a." * 30),
        ("dns-ttl", "500ms"), ("dns-ttl", "2d"), ("dns-ttl", "100h"), ("dns-workers", "-1"),
        ("dns-workers", "65"), ("dns-workers", "²"), ("default-ttl", "soon"),
        ("dns-rrl-slip", "00000000000101"), ("default-ttl", "99ms"), ("default-ttl", "721h"),
        ("forward", "9.9.9.9"), ("forward", "9.9.9.9:0"), ("log-format", "xml"),
        ("etcd", "127.0.0.1:2379"), ("etcd", "http://a,ftp://b"), ("etcd", "unix:socket"),
        ("etcd", "http://a:0"), ("etcd", "http://me:secret@a"), ("etcd", ","),
        ("etcd-prefix", "/"), ("etcd-user", "me"), ("etcd-user", ":secret"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_wherever_it_stands(flag, text):
    variable = "CALLBOARD_" + flag.upper().replace("-", "_")
    with pytest.raises(ConfigError, match=f"^--{flag}: "):
        resolved({flag: [text]})
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        resolved(None, {variable: text})
    with pytest.raises(ConfigError, match=f"^node.toml: {flag}: "):
        resolved(None, None, {flag: text})


def refusal(*sources, otherwise):
    """What is said of it; `otherwise` when it is taken."""
    try:
        resolved(*sources)
    except ConfigError as error:
        return str(error)
    return otherwise


@given(st.sampled_from(SETTINGS), st.text())
def test_any_text_is_a_setting_or_refused_with_its_place(setting, text):
    place = f"--{setting.flag}: "
    assert refusal({setting.flag: [text]}, otherwise=place).startswith(place)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(SETTINGS), JSON)
def test_any_toml_value_is_a_setting_or_refused_with_its_key(setting, value):
    place = f"node.toml: {setting.flag}: "
    assert refusal(None, None, {setting.flag: value}, otherwise=place).startswith(place)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml: cannot be read"):
        read_toml(str(tmp_path / "nowhere.toml"))
    bad = tmp_path / "bad.toml"
    for content in (b"http = ", b"\xff\xfe"):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad.toml: is not TOML"):
            read_toml(str(bad))


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        ("a=10.0.0.1:1,a=10.0.0.2:1", "the name 'a' is used twice"),
        ("a=10.0.0.1:1,b=10.0.0.1:1", "'a' and 'b' share the address 10.0.0.1:1"),
        ("a=10.0.0.1:1,b", "'b' is not NAME=HOST:PORT"),
        ("a=10.0.0.1", "'10.0.0.1' is not HOST:PORT"),
        (" , ", "it names no node"),
        ("-a=10.0.0.1:1", "'-a' cannot name a node"),
        ("b=10.0.0.1:1", "this node, 'a', is not in the list of b"),
    ],
)
def test_a_wrong_list_of_nodes_is_named(cluster, told):
    with pytest.raises(ConfigError, match=f"--cluster: {told}"):
        resolved({"name": ["a"], "cluster": [cluster]})


def test_the_list_in_another_order_is_the_same_and_gives_the_peer_address():
    first = resolved({"name": ["a"], "cluster": ["a=10.0.0.1:1,b=10.0.0.2:2"]})
    assert first == resolved({"name": ["a"], "cluster": ["b=10.0.0.2:2, a=10.0.0.1:1"]})
    assert first.peer == Address("10.0.0.1", 1)
    other = resolved({"name": ["a"], "cluster": ["a=10.0.0.1:1"], "peer": ["0.0.0.0:1"]})
    assert other.peer == Address("0.0.0.0", 1)


def test_a_cluster_of_its_own_and_an_etcd_that_exists_exclude_each_other():
    with pytest.raises(ConfigError, match="give one"):
        resolved({"name": ["a"], "cluster": ["a=10.0.0.1:1"], "etcd": ["http://a"]})


def test_the_default_ttl_is_one_that_a_registration_may_name():
    assert (DEFAULT_TTL_S_MIN, DEFAULT_TTL_S_MAX) == (inputs.TTL_S_MIN, inputs.TTL_S_MAX)
    for text in ("0", "100ms", "720h"):
        config = resolved({"default-ttl": [text]})
        assert inputs.checked_ttl_s(config.default_ttl_s) == config.default_ttl_s
