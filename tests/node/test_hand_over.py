"""What a node that stops leaves to the others, and what it lets alone."""

import pytest
from callboard.engines import hand_over
from callboard.registry.engine import Refused


class Engine:
    def __init__(self, error=None):
        self.done = []
        self._error = error

    async def resign(self):
        self.done.append("resign")

    async def transfer_leadership(self):
        self.done.append("transfer")
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(("leads", "done"), [(True, ["transfer", "resign"]), (False, ["resign"])])
async def test_who_leads_is_changed_only_where_the_leader_may_go_with_the_node(leads, done):
    engine = Engine()
    await hand_over(engine, leads=leads)
    assert engine.done == done


async def test_a_node_stops_all_the_same_when_nobody_takes_over():
    engine = Engine(Refused("no majority"))
    await hand_over(engine, leads=True)
    assert engine.done == ["transfer", "resign"]
