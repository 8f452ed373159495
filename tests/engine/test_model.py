"""The store beside a dictionary: random calls, restarts, full disks, crashes at any statement."""

import copy
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from callboard.registry.engine import Pair, Refused
from callboard.registry.engine.layout import connect_read_only
from callboard.registry.engine.opening import open_store
from callboard.registry.engine.reader import begin_load
from callboard.registry.engine.store import STATEMENT_ROWS_MAX, Store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule


class Model:
    """What a store must hold and answer, in the plainest way."""

    def __init__(self):
        self.revision = 0
        self.pairs = {}

    def apply(self, calls):
        results = []
        for key, value, expect in (operation for call in calls for operation in call):
            old = self.pairs.get(key)
            current = old.modify_revision if old else 0
            if expect not in (None, current) or (value is None and old is None):
                results += [0, current]
                continue
            self.revision += 1
            create = old.create_revision if old else self.revision
            if value is None:
                del self.pairs[key]
            else:
                self.pairs[key] = Pair(key, value, create, self.revision)
            results += [self.revision, create]
        return results

    def state(self):
        return self.revision, self.pairs


class Crash(BaseException):
    """The process ends here."""


class CrashingConnection:
    """Ends the process at the n-th statement, before it or after it."""

    def __init__(self, connection, at, *, after):
        self._connection = connection
        self._left = at
        self._after = after

    def execute(self, *arguments):
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Crash
        answer = self._connection.execute(*arguments)
        if self._left == 0:
            raise Crash
        return answer

    def __getattr__(self, name):
        return getattr(self._connection, name)


def load(data_dir):
    """The revision and the pairs, every checksum verified."""
    with closing(connect_read_only(str(data_dir / "board.db"))) as connection:
        revision, pages = begin_load(connection)
        return revision, {pair.key: pair for page in pages for pair in page}


class Board:
    """A store that can be crashed: what is on disk goes on under another name."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp())
        self._lives = 0
        self.data_dir = self.root / "0"
        self.data_dir.mkdir()
        self.store = open_store(self.data_dir)

    def crash(self):
        """As kill -9 would leave it; closing the store instead would checkpoint."""
        self._lives += 1
        left = self.data_dir
        self.data_dir = self.root / str(self._lives)
        shutil.copytree(left, self.data_dir, ignore=lambda *_: ["board.db-shm"])
        self.store._connection.close()
        self.store = open_store(self.data_dir)

    def restart(self):
        self.store.close()
        self.store = open_store(self.data_dir)

    def apply_and_crash(self, calls, at, *, after):
        """Whether the crash came; if not, the calls were applied."""
        connection = self.store._connection
        store = Store(CrashingConnection(connection, at, after=after), self.store.summary)
        try:
            store.apply(calls)
        except Crash:
            crashed = True
        else:
            crashed = False
        self.crash()
        return crashed

    def close(self):
        self.store._connection.close()
        shutil.rmtree(self.root)


KEYS = st.integers(0, 7).map(lambda number: b"k%d" % number)
VALUES = st.none() | st.binary(max_size=9) | st.integers(1, 4).map(lambda n: b"v" * 3000 * n)
EXPECTED = st.sampled_from(["any", "any", "absent", "current", "wrong"])
CALLS = st.lists(
    st.lists(st.tuples(KEYS, VALUES, EXPECTED), min_size=1, max_size=6), min_size=1, max_size=4
)


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.board = Board()
        self.model = Model()

    def calls(self, drawn):
        """With real revisions for the conditions, as of before the calls."""
        revisions = {key: pair.modify_revision for key, pair in self.model.pairs.items()}

        def expect(key, kind):
            current = revisions.get(key, 0)
            return {"any": None, "absent": 0, "current": current, "wrong": current + 1}[kind]

        return [[(key, value, expect(key, kind)) for key, value, kind in call] for call in drawn]

    @rule(drawn=CALLS)
    def apply(self, drawn):
        calls = self.calls(drawn)
        assert self.board.store.apply(calls) == self.model.apply(calls)
        self.board.store.checkpoint_if_due()

    @rule()
    def restart(self):
        self.board.restart()

    @rule()
    def crash(self):
        self.board.crash()

    @rule(drawn=CALLS, at=st.integers(1, 8), after=st.booleans())
    def crash_in_the_middle(self, drawn, at, after):
        calls = self.calls(drawn)
        applied = copy.deepcopy(self.model)
        applied.apply(calls)
        crashed = self.board.apply_and_crash(calls, at, after=after)
        state = load(self.board.data_dir)
        assert state == applied.state() or (crashed and state == self.model.state())
        if state == applied.state():
            self.model = applied

    @rule(drawn=CALLS)
    def run_out_of_space(self, drawn):
        calls = self.calls(drawn)
        self.board.store._connection.execute("PRAGMA max_page_count = 1")  # as few as are in use
        applied = copy.deepcopy(self.model)
        try:
            results = self.board.store.apply(calls)
        except Refused:
            pass
        else:
            assert results == applied.apply(calls)
            self.model = applied
        self.board.store._connection.execute("PRAGMA max_page_count = 4294967294")

    @invariant()
    def holds_what_the_model_holds(self):
        assert load(self.board.data_dir) == self.model.state()

    def teardown(self):
        if hasattr(self, "board"):
            self.board.close()


StoreMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, print_blob=True
)
TestStore = StoreMachine.TestCase


@pytest.fixture
def board():
    made = Board()
    yield made
    made.close()


def test_a_crash_at_any_statement_leaves_all_of_a_transaction_or_nothing(board):
    """Of one that deletes, replaces and creates more rows than a statement takes."""
    model = Model()
    rows = STATEMENT_ROWS_MAX + 20
    outcomes = []
    for after in (False, True):
        at = 0
        crashed = True
        while crashed:
            at += 1
            fill = [[(b"%04d" % number, b"old", None) for number in range(2 * rows)]]
            assert board.store.apply(fill) == model.apply(fill)
            calls = [
                [(b"%04d" % number, None, None) for number in range(rows)],
                [(b"%04d" % number, b"new" * 50, None) for number in range(rows, 3 * rows)],
            ]
            applied = copy.deepcopy(model)
            applied.apply(calls)
            crashed = board.apply_and_crash(calls, at, after=after)
            state = load(board.data_dir)
            assert state in (model.state(), applied.state())
            outcomes.append(state == applied.state())
            if outcomes[-1]:
                model = applied
    # Without a crash and with one after COMMIT all is there; before it nothing is.
    assert outcomes.count(True) == 3
    assert len(outcomes) > 2 * 8
