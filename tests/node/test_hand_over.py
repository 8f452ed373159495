"""What a node that stops leaves to the others."""

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


@pytest.mark.parametrize("error", [None, Refused("no majority")])
async def test_a_node_hands_over_the_lead_and_then_the_leases(error):
    engine = Engine(error)
    await hand_over(engine)
    assert engine.done == ["transfer", "resign"]
