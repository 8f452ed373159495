"""A call waits until its revision is shown, and never for ever."""

import asyncio

from callboard.registry.showing import Showing


async def began(showing, *revisions):
    """Calls that wait for `revisions`, as tasks that have come to where they wait."""
    waiting = [asyncio.create_task(showing.wait(revision)) for revision in revisions]
    await asyncio.sleep(0)
    return waiting


async def test_what_is_shown_already_is_not_waited_for():
    showing = Showing()
    showing.reached(5)
    assert await showing.wait(5)
    assert await showing.wait(0)


async def test_each_waits_for_its_own_revision_in_whatever_order_they_came():
    showing = Showing()
    late, soon, now = await began(showing, 9, 7, 5)
    showing.reached(5)
    assert await now
    assert not late.done()
    assert not soon.done()
    showing.reached(8)
    assert await soon
    showing.reached(9)
    assert await late


async def test_a_call_that_was_given_up_is_forgotten():
    showing = Showing()
    (given_up,) = await began(showing, 5)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    showing.reached(5)
    assert not showing._waiting


async def test_a_stop_answers_those_who_wait_and_those_who_come():
    showing = Showing()
    showing.reached(5)
    (waiting,) = await began(showing, 6)
    showing.stop()
    assert not await waiting
    assert not await showing.wait(7)
    assert await showing.wait(5)
