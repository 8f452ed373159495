"""The whole registry on the real engine, beside dictionaries: random calls, time, restarts."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from callboard.registry import (
    Deregister,
    Heartbeat,
    Instance,
    InstanceName,
    KvTopic,
    Lagged,
    Listed,
    Register,
    Registered,
    Registry,
    Renewal,
    ServicesTopic,
    ServiceTopic,
    Status,
)
from callboard.registry.engine import SqliteEngine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

FAILURE_S = 10.0
"""How long what must happen may take on a busy machine."""

RESTARTS_MAX = 2
"""A start takes a hundred times as long as a write."""

ALL = ServicesTopic(None)

INSTANCES = st.builds(
    Instance,
    service=st.sampled_from(["web", "Web", "db"]),
    namespace=st.sampled_from(["default", "Default", "blue"]),
    id=st.sampled_from(["a", "A", "b"]),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    tags=st.sampled_from([(), ("v1",)]),
    # Deadlines fall between the whole seconds that the clock shows.
    ttl=st.sampled_from([0.0, 1.5, 4.5]),
)
NAMES = st.builds(
    InstanceName,
    st.sampled_from(["default", "blue"]),
    st.sampled_from(["web", "db"]),
    st.sampled_from(["a", "b"]),
)
STATUSES = st.none() | st.sampled_from(list(Status))
BEATS = st.builds(Heartbeat, NAMES, STATUSES, st.sampled_from([None, "", "slow"]))
OPERATIONS = BEATS | st.builds(Register, INSTANCES) | st.builds(Deregister, NAMES)
KEYS = st.sampled_from(["a", "a/b", "a/c", "b"])


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Shown:
    """What the model knows of one instance."""

    def __init__(self, instance, deadline_s):
        self.instance = instance
        self.deadline_s = deadline_s
        self.created = self.modified = None

    def listed(self, expires_in_s):
        return Listed(self.instance, self.created, self.modified, expires_in_s)


class Model:
    """Instances by folded name, keys, and the events that a watcher is to see."""

    def __init__(self, clock):
        self.clock = clock
        self.instances = {}
        self.kv = {}
        self.spellings = {}
        self.events = []
        self.statuses = {}
        self.touched = set()

    def deadline(self, ttl_s):
        return self.clock() + ttl_s if ttl_s else None

    def begin_call(self):
        self.statuses, self.touched = {}, set()

    def do(self, operation):
        """What the caller is to be told; a call's earlier operations have been done."""
        match operation:
            case Register(instance):
                return self.register(instance)
            case Deregister(name):
                return self.take_off(name, expired=False)
            case Heartbeat(name, status, output):
                return self.heartbeat(name, status, output)

    def register(self, instance):
        parts = instance.namespace, instance.service, instance.id
        name = InstanceName(*(part.lower() for part in parts))
        spelled = [self.spellings.setdefault(name[: n + 1], parts[n]) for n in range(3)]
        instance = msgspec.structs.replace(
            instance, **dict(zip(("namespace", "service", "id"), spelled, strict=True))
        )
        old = self.instances.get(name)
        if old is not None and old.instance == instance and name not in self.touched:
            old.deadline_s = self.deadline(instance.ttl)
            return Registered(instance, created=False)
        self.show(name, instance)
        return Registered(instance, created=old is None)

    def show(self, name, instance):
        old = self.instances.get(name)
        shown = self.instances[name] = Shown(instance, self.deadline(instance.ttl))
        shown.created = old and old.created
        self.events.append((name, shown, old, False))
        self.touched.add(name)
        self.statuses.pop(name, None)

    def take_off(self, name, *, expired):
        old = self.instances.pop(name, None)
        if old is None:
            return False
        self.events.append((name, None, old, expired))
        self.touched.add(name)
        self.statuses.pop(name, None)
        return True

    def heartbeat(self, name, status, output):
        old = self.instances.get(name)
        if old is None:
            return None
        news = {} if status is None else {"status": status}
        news |= {} if output is None else {"output": output}
        instance = msgspec.structs.replace(old.instance, **news)
        old.deadline_s = self.deadline(instance.ttl)
        if instance != old.instance and name in self.statuses:
            old.instance = instance  # the statuses of one call are one event
        elif instance != old.instance:
            self.show(name, instance)
            self.statuses[name] = True
        return Renewal(instance.ttl, instance.ttl or None)

    def forget_spellings(self):
        """A spelling is kept for as long as something bears the name."""
        borne = {name[: n + 1] for name in self.instances for n in range(3)}
        self.spellings = {part: text for part, text in self.spellings.items() if part in borne}

    def respell(self):
        for name in sorted(self.instances):
            instance = self.instances[name].instance
            parts = instance.namespace, instance.service, instance.id
            for n in range(3):
                self.spellings.setdefault(name[: n + 1], parts[n])

    def due(self):
        now_s = self.clock()
        return [
            [key for key, shown in things.items() if shown.deadline_s and shown.deadline_s <= now_s]
            for things in (self.instances, self.kv)
        ]


class Pair:
    """What the model knows of one KV key."""

    def __init__(self, value, flags, deadline_s, ttl_s):
        self.value = value
        self.flags = flags
        self.deadline_s = deadline_s
        self.ttl_s = ttl_s
        self.created = self.modified = None


class RegistryMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        # Sweeps come as often as the loop turns; whether anything is due is the clock's word.
        self.patch.setattr("callboard.registry.expiry.TICK_S", 0.001)
        self.directory = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.model = Model(self.clock)
        self.saved = None
        self.restarts = 0
        self.seen = []
        self.runner = asyncio.Runner()
        self.runner.run(self.open())

    async def open(self):
        self.engine = await SqliteEngine.open(self.directory / "data", node="a")
        self.registry = Registry(self.engine, node="a", clock=self.clock)
        await self.registry.start()
        since = self.seen[-1].index if self.seen else None
        with pytest.raises(Lagged):
            self.registry.subscribe(ALL, self.registry.index - 1)
        if since is not None and since < self.registry.index:
            since = None  # KV writes came after it: to resume from there needs a snapshot
        self.subscription = self.registry.subscribe(ALL, since)
        self.resumable_after = self.registry.index
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        while True:
            self.seen += await self.subscription.next()

    async def close(self):
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
        self.subscription.close()
        await self.registry.close()
        await self.engine.close()

    def settle(self, *, ordered=True):
        """The watcher has seen what the model expects, whole, in order, and nothing else."""
        expected, self.model.events = self.model.events, []
        self.runner.run(self.until(lambda: len(self.seen) >= self.seen_before + len(expected)))
        events = self.seen[self.seen_before :]
        assert len(events) == len(expected)
        if not ordered:  # nobody asked for these one by one: deletes first, else any order
            events = sorted(events, key=lambda event: (event.listed is not None, event.name))
            expected = sorted(expected, key=lambda event: (event[1] is not None, event[0]))
        for event, (name, shown, last, expired) in zip(events, expected, strict=True):
            if shown is not None:
                shown.created = last.created if last else event.index
                shown.modified = event.index
            now = shown and shown.listed(shown.instance.ttl or None)
            then = last and last.listed(last.instance.ttl or None)
            assert (event.name, event.listed, event.last, event.expired) == (
                name,
                now,
                then,
                expired,
            )
        indices = [event.index for event in self.seen]
        assert indices == sorted(indices)
        self.model.forget_spellings()

    def act(self, call, operations, *, many=False):
        """Do it, compare the answers, and see that what changes nothing writes nothing."""
        self.seen_before, index = len(self.seen), self.registry.index
        self.model.begin_call()
        expected = [self.model.do(operation) for operation in operations]
        writes = bool(self.model.events)
        answers = self.runner.run(call)
        answers = answers if many else [answers]
        assert [self.plain(answer) for answer in answers] == expected
        self.settle()
        assert (self.registry.index > index) == writes
        assert self.engine.status().revision == self.registry.index
        return answers

    @staticmethod
    def plain(answer):
        """A registration's indices are compared where they can be known: with the events."""
        if isinstance(answer, Registered):
            assert answer.listed.expires_in_s == (answer.listed.instance.ttl or None)
            return Registered(answer.listed.instance, answer.created)
        return answer

    async def until(self, holds):
        async with asyncio.timeout(FAILURE_S):
            while not holds():  # noqa: ASYNC110  # of several parts, which share no event
                await asyncio.sleep(0.001)

    @rule(instance=INSTANCES)
    def register(self, instance):
        [answer] = self.act(self.registry.register(instance), [Register(instance)])
        name = InstanceName(
            *(p.lower() for p in (instance.namespace, instance.service, instance.id))
        )
        assert answer.listed == self.registry.instance(name)

    @rule(name=NAMES)
    def deregister(self, name):
        self.act(self.registry.deregister(name), [Deregister(name)])

    @rule(beat=BEATS)
    def heartbeat(self, beat):
        self.act(self.registry.heartbeat(beat), [beat])

    @rule(operations=st.lists(OPERATIONS, max_size=8))
    def batch(self, operations):
        self.act(self.registry.batch(operations), operations, many=True)

    @rule(names=st.lists(NAMES, max_size=5))
    def renew(self, names):
        index = self.registry.index
        unknown = [
            n for n, name in enumerate(names) if self.model.heartbeat(name, None, None) is None
        ]
        assert self.registry.renew(names) == unknown
        self.runner.run(asyncio.sleep(0))
        assert self.registry.index == self.engine.status().revision == index

    @rule(by_s=st.integers(1, 4))
    def advance(self, by_s):
        """What was not renewed goes by itself, and only that."""
        self.seen_before = len(self.seen)
        self.clock.now_s += by_s
        names, keys = self.model.due()
        for name in names:
            self.model.take_off(name, expired=True)
        for key in keys:
            del self.model.kv[key]
        self.runner.run(self.until(lambda: not any(map(self.registry.kv_get, keys))))
        self.settle(ordered=False)

    @rule(
        key=KEYS,
        value=st.binary(max_size=3),
        flags=st.integers(0, 2**64 - 1),
        condition=st.sampled_from(["any", "any", "absent", "current", "wrong"]),
        ttl_s=st.sampled_from([None, 2.5]),
    )
    def kv_put(self, key, value, flags, condition, ttl_s):
        old, index = self.model.kv.get(key), self.registry.index
        cas = self.cas(old, condition)
        put = self.registry.kv_put(key, value, flags=flags, cas=cas, ttl_s=ttl_s)
        done = cas in (None, old.modified if old else 0)
        assert self.runner.run(put) == done
        assert (self.registry.index > index) == done
        if done:
            new = self.model.kv[key] = Pair(value, flags, self.model.deadline(ttl_s), ttl_s)
            new.modified = self.registry.index
            new.created = old.created if old else self.registry.index

    @rule(key=KEYS, condition=st.sampled_from(["any", "current", "wrong"]))
    def kv_delete(self, key, condition):
        old, index = self.model.kv.get(key), self.registry.index
        cas = self.cas(old, condition)
        done = old is None or cas in (None, old.modified)
        assert self.runner.run(self.registry.kv_delete(key, cas=cas)) == done
        if done and old:
            del self.model.kv[key]
        assert (self.registry.index > index) == (done and old is not None)

    @rule(prefix=st.sampled_from(["", "a", "a/", "c"]))
    def kv_delete_prefix(self, prefix):
        gone = [key for key in self.model.kv if key.startswith(prefix)]
        assert self.runner.run(self.registry.kv_delete_prefix(prefix)) == len(gone)
        for key in gone:
            del self.model.kv[key]

    @staticmethod
    def cas(old, condition):
        current = old.modified if old else 0
        return {"any": None, "absent": 0, "current": current, "wrong": current + 1}[condition]

    @precondition(lambda self: self.restarts < RESTARTS_MAX)
    @rule()
    def restart(self):
        """Everything acknowledged is there again, and every lease is full."""
        self.restarts += 1
        self.runner.run(self.close())
        self.clock.now_s += 100.0
        self.runner.run(self.open())
        self.fill_leases()
        self.model.spellings = {}
        self.model.respell()

    def fill_leases(self):
        for shown in self.model.instances.values():
            shown.deadline_s = self.model.deadline(shown.instance.ttl)
        for pair in self.model.kv.values():
            pair.deadline_s = self.model.deadline(pair.ttl_s)

    @rule()
    def save(self):
        path = self.directory / f"snapshot-{self.registry.index}"
        path.unlink(missing_ok=True)
        assert self.runner.run(self.registry.save(str(path))) == self.registry.index
        instances = {name: shown.instance for name, shown in self.model.instances.items()}
        self.saved = path, instances, dict(self.model.kv)

    @rule()
    def restore(self):
        if self.saved is None:
            return
        path, instances, pairs = self.saved
        self.seen_before, index = len(self.seen), self.registry.index
        wrote = bool(self.model.instances or self.model.kv or instances or pairs)
        self.model.begin_call()
        for name in self.model.instances.keys() - instances.keys():
            self.model.take_off(name, expired=False)
        self.model.forget_spellings()
        for name, instance in instances.items():
            self.model.show(name, instance)
        assert self.runner.run(self.registry.restore(str(path))) == self.registry.index
        assert (self.registry.index > index) == wrote
        self.model.respell()
        self.settle(ordered=False)
        self.restore_kv(pairs, index)

    def restore_kv(self, pairs, index):
        old, self.model.kv = self.model.kv, {}
        for key, pair in pairs.items():
            new = Pair(pair.value, pair.flags, self.model.deadline(pair.ttl_s), pair.ttl_s)
            new.modified = self.registry.kv_get(key).modify_index
            new.created = old[key].created if key in old else new.modified
            assert new.modified > index
            self.model.kv[key] = new

    @rule(back=st.integers(0, 30))
    def resume(self, back):
        """Whoever comes back gets exactly what came after the last event it saw."""
        since = max(self.resumable_after, self.registry.index - back)
        missed = [event for event in self.seen if event.index > since]
        with self.registry.subscribe(ALL, since) as subscription:
            if missed:
                assert self.runner.run(subscription.next()) == missed

    @invariant()
    def instances_agree(self):
        now_s, shown = self.clock(), {}
        for name, known in self.model.instances.items():
            left_s = None if known.deadline_s is None else known.deadline_s - now_s
            shown[name] = known.listed(left_s)
            assert self.registry.instance(name) == shown[name]
        pages = list(self.registry.listing(ALL))
        everything = [listed for page in pages for listed in page]
        assert sorted(everything, key=repr) == sorted(shown.values(), key=repr)
        for namespace in ("default", "blue"):
            names = {name.service for name in shown if name.namespace == namespace}
            services = {s.name: s.instances for s in self.registry.services(namespace.upper())}
            spelled = {self.model.spellings[namespace, service] for service in names}
            assert services.keys() == spelled
            for service in ("web", "db"):
                found = self.registry.instances(namespace, service.upper())
                expected = [v for name, v in shown.items() if name[:2] == (namespace, service)]
                assert sorted(found, key=repr) == sorted(expected, key=repr)

    @invariant()
    def kv_agrees(self):
        pairs = [
            (key, pair.value, pair.flags, pair.created, pair.modified)
            for key, pair in sorted(self.model.kv.items())
        ]
        assert self.registry.kv_list("") == pairs
        assert self.registry.kv_keys("a/") == [pair[0] for pair in pairs if pair[0][:2] == "a/"]

    @invariant()
    def counts_and_indices_agree(self):
        leased = [*self.model.instances.values(), *self.model.kv.values()]
        assert self.registry.lease_count == sum(known.deadline_s is not None for known in leased)
        assert self.registry.instance_count == len(self.model.instances)
        assert self.registry.service_count == len({name[:2] for name in self.model.instances})
        assert self.registry.kv_count == len(self.model.kv)
        assert self.registry.index == self.engine.status().revision
        for name, known in self.model.instances.items():
            assert self.registry.modify_index(ServiceTopic(*name[:2])) >= known.modified
        for key, pair in self.model.kv.items():
            assert self.registry.modify_index(KvTopic(key, recurse=False)) >= pair.modified

    def teardown(self):
        if hasattr(self, "runner"):
            self.runner.run(self.close())
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.directory)


RegistryMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=40, deadline=None, print_blob=True
)
TestRegistry = RegistryMachine.TestCase
