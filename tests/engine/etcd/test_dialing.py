"""Which flag is named when its file is wrong."""

import pytest
from callboard.certificates import Authority, parse_node
from callboard.registry.engine import CannotStart
from callboard.registry.engine.etcd import EtcdSettings
from callboard.registry.engine.etcd.dialing import targets


@pytest.fixture
def files(tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.add_node(parse_node("one=127.0.0.1"))
    return {"ca": str(authority.cert_path), "cert": str(cert), "key": str(key)}


@pytest.mark.parametrize("wrong", ["ca", "cert", "key"])
def test_a_file_that_is_not_there_is_told_with_its_flag(files, wrong):
    files[wrong] = missing = files["ca"] + ".missing"
    with pytest.raises(CannotStart, match=f"^--etcd-{wrong} {missing}: "):
        targets(EtcdSettings(endpoints=("https://127.0.0.1:1",), **files))


def test_a_pair_that_does_not_belong_together_is_the_certificate_s(files, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    _, files["key"] = map(str, Authority(other).add_node(parse_node("two=127.0.0.1")))
    files["ca"] = files["cert"]  # a bundle of both
    with pytest.raises(CannotStart, match=r"^--etcd-cert .* belongs together"):
        targets(EtcdSettings(endpoints=("https://127.0.0.1:1",), **files))
