"""Becomes the lease keeper, and deletes with its guard when it is told to: for a test to stop."""

import asyncio
import sys

from callboard.registry.engine import Delete, EngineError
from callboard.registry.engine.etcd import EtcdEngine, EtcdSettings


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(url):
    engine = await EtcdEngine.open(EtcdSettings(endpoints=(url,), prefix="board/"), node="child")
    guard = await engine.campaign("child")
    held = asyncio.create_task(engine.hold(guard))
    say("keeper")
    await asyncio.to_thread(sys.stdin.readline)
    async with asyncio.timeout(5):
        await held
    say("lost")
    try:
        # Past the engine's own knowledge of its loss: etcd itself has to refuse it.
        await engine._committer.commit([Delete(b"a", expired=True)], guard)
        say("deleted")
    except EngineError as error:
        say(type(error).__name__)
    await engine.close()


asyncio.run(main(sys.argv[1]))
