"""A node's worth of writing, for tests that kill it: prints what was acknowledged.

`board_child.py DATA_DIR SEED [unsynced]`: each line is `KEY LENGTH`, printed after the answer.
"""

import asyncio
import random
import sys
from pathlib import Path

from callboard.registry.engine import Delete, Put, SqliteEngine
from callboard.registry.engine.opening import open_store

WRITERS = 12


def value_of(key: bytes, length: int) -> bytes:
    """The only value ever written under `key`."""
    return (key * (length // len(key) + 1))[:length]


def acknowledge(pairs):
    sys.stdout.write("".join(f"{key.decode()} {length}\n" for key, length in pairs))
    sys.stdout.flush()


async def write(engine, rng, prefix):
    number = 0
    while True:
        pairs = []
        for _ in range(rng.choice((1, 1, 1, 5, 30))):
            number += 1
            pairs.append((b"%s-%06d" % (prefix, number), rng.choice((10, 200, 200, 9000))))
        await engine.commit(
            [Put(key, value_of(key, length)) for key, length in pairs]
            + [Put(b"passing", b"by"), Delete(b"passing")]
        )
        acknowledge(pairs)


async def synced(data_dir, seed):
    engine = await SqliteEngine.open(data_dir)
    rng = random.Random(seed)
    await asyncio.gather(*(write(engine, rng, b"%s-%d" % (seed, n)) for n in range(WRITERS)))


def unsynced(data_dir, seed):
    """The control: the same store without its syncs."""
    data_dir.mkdir()
    store = open_store(data_dir)
    store._connection.execute("PRAGMA synchronous = OFF")
    number = 0
    while True:
        number += 1
        key = b"%s-%06d" % (seed, number)
        store.apply([[(key, value_of(key, 200), None)]])
        acknowledge([(key, 200)])


if __name__ == "__main__":
    if "unsynced" in sys.argv:
        unsynced(Path(sys.argv[1]), sys.argv[2].encode())
    else:
        asyncio.run(synced(Path(sys.argv[1]), sys.argv[2].encode()))
