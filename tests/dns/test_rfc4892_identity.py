"""Class CH: `id.server` and `version.bind` (RFC 4892), told only when they are set."""

import pytest
from callboard.dns.chaos import Chaos

NAMES = ["id.server.", "hostname.bind.", "version.bind.", "version.server."]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_told_by_default(board, name):
    assert board.shape(name, "TXT", rdclass="CH") == "REFUSED 0/0/0"


@pytest.mark.parametrize(
    ("name", "text"), [("id.server.", "node-1"), ("hostname.bind.", "node-1"),
                       ("VERSION.bind.", "callboard 9"), ("version.server.", "callboard 9")],
)  # fmt: skip
def test_what_is_set_is_told(make_board, name, text):
    board = make_board(chaos=Chaos(b"node-1", b"callboard 9"))
    assert board.shape(name, "TXT", rdclass="CH") == "NOERROR AA 1/0/0"
    [rrset] = board.ask(name, "TXT", rdclass="CH").answer
    assert (rrset.ttl, str(rrset[0]), str(rrset.name)) == (0, f'"{text}"', name)
    assert board.shape(name, "TXT", rdclass="CH", use_edns=0) == "NOERROR AA 1/0/0"
    assert board.shape(name, "A", rdclass="CH") == "NOERROR AA 0/0/0"
    assert board.shape(name, "TXT") == "REFUSED 0/0/0", "in class IN it is no name of ours"
    assert board.shape("other.bind.", "TXT", rdclass="CH") == "REFUSED 0/0/0"


def test_the_version_is_a_matter_of_its_own(make_board):
    board = make_board(chaos=Chaos(b"node-1"))
    assert board.shape("id.server.", "TXT", rdclass="CH") == "NOERROR AA 1/0/0"
    assert board.shape("version.bind.", "TXT", rdclass="CH") == "REFUSED 0/0/0"
