"""The DNS front as the registry process sees it: sockets, worker processes, their feeds."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from ..registry.registry import Registry
from .config import DnsConfig
from .cookie_secrets import read_secrets
from .counters import QueryKind
from .errors import DnsFrontError
from .feed import FeedKind, WorkerSettings, pack_message, unpacker
from .feeder import beat, feed
from .latency import Latencies
from .sockets import DnsSockets, PortTaken, bind_sockets, is_wildcard, server_addresses
from .stats import DnsStats, WorkerStats
from .succession import Inheritance, inherit
from .transfer.config import TransferSettings
from .transfer.keys import Keys

RESTART_S_MIN: Final = 0.05
RESTART_S_MAX: Final = 5.0
"""Between a worker's death and its successor, doubled each time: a crash at every start must
not burn the CPU that the registry needs."""
STEADY_S: Final = 30.0
"""A worker that lived this long is no part of a series of crashes."""
EXIT_S_MAX: Final = 2.0
"""How long a worker may take to leave once its feed is closed, before it is killed."""
INHERIT_S_MAX: Final = 0.5
INHERIT_TRY_S: Final = 0.05
"""Workers notice within milliseconds that their node is gone; the rest is for slow machines."""
REAP_S: Final = 0.005
REPORT_READ_BYTES: Final = 64 * 1024

_logger: Final = logging.getLogger("callboard.dns")


class WorkerFailed(DnsFrontError):
    """A worker ended before it was ready for the first time."""


class DnsFront:
    """Create, `await start()`, `await close()`; all from one event loop."""

    def __init__(self, config: DnsConfig, registry: Registry, *, batched: bool = True) -> None:
        """`batched` False takes the UDP path of systems without recvmmsg."""
        self._config = config
        self._registry = registry
        self._batched = batched
        self._sockets: DnsSockets | None = None
        self._workers: list[_Worker] = []
        self._transfers: _Worker | None = None
        self._inheritance: Inheritance | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._pair: tuple[socket.socket, ...] = ()
        """What workers hand over to the process of transfers, in the one end and out of the
        other. Kept here, so that it outlives either side."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port actually bound; valid after `start`."""
        assert self._sockets is not None
        return self._sockets.host, self._sockets.port

    async def start(self) -> None:
        """Return when every worker answers.

        Raises `CannotListen`, `WorkerFailed`, or another `DnsFrontError` for keys of transfers.
        """
        keys = self._config.transfer.read_keys()
        self._secrets = read_secrets(self._config.cookie_secret_file)
        self._sockets = await self._bind()
        settings = self._settings(self._sockets)
        handed = self._place_transfers(self._sockets, keys)
        self._workers = [
            self._worker(
                "worker", settings._replace(number=number), (udp, self._sockets.tcp, handed)
            )
            for number, udp in enumerate(self._sockets.udp)
        ]
        try:
            await asyncio.gather(*(worker.start() for worker in self._processes()))
        except BaseException:
            await self.close()
            raise

    def succeed(self) -> None:
        """All of the node answers: workers of one that was killed, if there are any, leave."""
        if self._inheritance is not None:
            self._inheritance.dismiss(len(self._workers))
            self._inheritance = None

    async def close(self) -> None:
        """End the workers and let go of the sockets. Safe to repeat.

        Turned away first: then a resolver is told at once that nobody is here, and asks the next
        server. What came between a worker's last look and the end of its socket would be lost.
        Sockets that were not taken over yet are still others' to answer at.
        """
        if self._sockets is not None and self._inheritance is None:
            self._sockets.turn_away()
        await asyncio.gather(*(worker.close() for worker in self._processes()))
        if self._inheritance is not None:
            self._inheritance.release()
        if self._sockets is not None:
            self._sockets.close()
        for one in self._pair:
            one.close()

    async def _bind(self) -> DnsSockets:
        """New sockets, or those of workers whose node was killed."""
        try:
            return bind_sockets(self._config)
        except PortTaken as taken:
            if not self._outlives:
                raise
            for _ in range(int(INHERIT_S_MAX / INHERIT_TRY_S)):
                self._inheritance = inherit(*taken.address)
                if self._inheritance is not None:
                    _logger.info("taking over from the workers of a node that was killed")
                    return bind_sockets(self._config, self._inheritance)
                await asyncio.sleep(INHERIT_TRY_S)
            raise

    @property
    def _outlives(self) -> bool:
        # Abstract names of sockets are Linux's own.
        return self._config.outlives and bool(self._config.port) and sys.platform == "linux"

    def stats(self) -> DnsStats:
        queries: Counter[QueryKind] = Counter()
        events: Counter[str] = Counter()
        latencies: Latencies = Counter()
        for worker in self._processes():
            queries += worker.queries()
            events += worker.events()
            latencies += worker.latencies()
        stats = tuple(worker.stats() for worker in self._workers)
        return DnsStats(stats, queries, events, latencies)

    def _processes(self) -> list["_Worker"]:
        return self._workers if self._transfers is None else [*self._workers, self._transfers]

    def _place_transfers(self, sockets: DnsSockets, keys: Keys) -> socket.socket | None:
        """Where workers put what is for the process of transfers, if there is to be one."""
        config = self._config.transfer
        if not config.enabled:
            return None
        wildcard = is_wildcard(sockets.host)
        settings = TransferSettings(
            zones=self._config.zones,
            ttl_s=self._config.ttl_s,
            server_addresses=server_addresses(self._config, sockets.host),
            source=None if wildcard else sockets.host,
            grants=[(str(grant.network), grant.key) for grant in config.grants],
            notify=config.notify,
            keys=list(keys.values()),
            max_stale_s=self._config.max_stale_s,
            reverse_zones=self._config.reverse_zones,
            cookie_secrets=self._secrets,
            nsid=self._config.identity.nsid,
            chaos_identity=self._config.identity.chaos_identity,
            chaos_version=self._config.identity.chaos_version,
        )
        ours, theirs = self._pair = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._transfers = self._worker("transfer.process", settings, (theirs, sockets.udp[0]))
        return ours

    def _worker(
        self,
        module: str,
        settings: WorkerSettings | TransferSettings,
        sockets: Sequence[socket.socket | None],
    ) -> "_Worker":
        return _Worker(self._registry, module, settings, sockets, self._config.weight_scale)

    def _settings(self, sockets: DnsSockets) -> WorkerSettings:
        return WorkerSettings(
            zones=self._config.zones,
            ttl_s=self._config.ttl_s,
            server_addresses=server_addresses(self._config, sockets.host),
            forward=self._config.forward,
            reply_from_destination=is_wildcard(sockets.host),
            limits=self._config.limits,
            max_stale_s=self._config.max_stale_s,
            outlives=self._outlives,
            batched=self._batched,
            cookie_secrets=self._secrets,
            reverse_zones=self._config.reverse_zones,
            nsid=self._config.identity.nsid,
            chaos_identity=self._config.identity.chaos_identity,
            chaos_version=self._config.identity.chaos_version,
        )


class _Worker:
    """One place in the row of workers: the process that fills it, and its successors."""

    def __init__(
        self,
        registry: Registry,
        module: str,
        settings: WorkerSettings | TransferSettings,
        sockets: Sequence[socket.socket | None],
        weight_scale: int,
    ) -> None:
        """`module` is run with the descriptors of its feed and of `sockets` (None: -1)."""
        self._registry = registry
        self._module = module
        self._settings = settings
        self._given = sockets
        self._weight_scale = weight_scale
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pid = 0
        self._restarts = 0
        self._report: dict[str, Any] = {}
        self._past_queries: Counter[QueryKind] = Counter()
        self._past_events: Counter[str] = Counter()
        self._past_latencies: Latencies = Counter()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name="dns worker")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._task.done():
            await self._task

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, DnsFrontError):
                await self._task
            self._task = None

    def queries(self) -> Counter[QueryKind]:
        now = Counter({QueryKind(*kind): n for *kind, n in self._report.get("queries", ())})
        return self._past_queries + now

    def events(self) -> Counter[str]:
        return self._past_events + Counter(self._report.get("events", {}))

    def latencies(self) -> Latencies:
        now = Counter({(path, at): n for path, at, n in self._report.get("latencies", ())})
        return self._past_latencies + now

    def stats(self) -> WorkerStats:
        shown = ("index", "services", "instances", "rss_bytes", "copy_age_s")
        numbers = {name: self._report.get(name, 0) for name in shown}
        return WorkerStats(self._pid, self._ready.is_set(), self._restarts, **numbers)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RESTART_S_MIN
        while True:
            started_s = loop.time()
            was_ready_before = self._ready.is_set() or self._restarts > 0
            try:
                ended = f"ended with code {await self._run()}"
            except OSError as error:  # no memory or no process to be had: the next may be luckier
                ended = f"could not be started ({error})"
            self._past_queries, self._past_events = self.queries(), self.events()
            self._past_latencies = self.latencies()
            self._report = {}
            if not self._ready.is_set() and not was_ready_before:
                raise WorkerFailed(f"a DNS worker {ended} before it was ready")
            self._ready.clear()
            self._restarts += 1
            if loop.time() - started_s > STEADY_S:
                pause_s = RESTART_S_MIN
            _logger.error("DNS worker %d %s; starting another", self._pid, ended)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_S_MAX)

    async def _run(self) -> int | None:
        """One process, from its start to its end; the exit code."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                process = self._spawn(theirs)
            self._pid = process.pid
            try:
                feeding = asyncio.create_task(self._feed_or_part(ours))
                try:
                    await self._read_reports(ours)
                finally:
                    feeding.cancel()
                    with suppress(asyncio.CancelledError, OSError):
                        await feeding
            finally:
                # The signal says that the end of the feed is no accident (`Worker._on_signal`).
                process.terminate()
                ours.close()
                await _reap(process)
        return process.returncode

    def _spawn(self, feed_end: socket.socket) -> subprocess.Popen[bytes]:
        # A child of exec, not a fork: it must not begin with a copy of the registry's heap.
        fds = [-1 if one is None else one.fileno() for one in (feed_end, *self._given)]
        command = [sys.executable, "-P", "-m", f"{__package__}.{self._module}"]
        return subprocess.Popen(
            [*command, *map(str, fds), str(os.getpid())],
            pass_fds=[fd for fd in fds if fd >= 0],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # whoever waits for the end of ours waits for us alone
        )

    async def _feed_or_part(self, ours: socket.socket) -> None:
        """A worker that a defect of ours leaves unfed would answer from an ever older copy."""
        try:
            await self._feed(ours)
        except OSError:
            raise  # the worker is gone: the end of its reports says so, too
        except Exception:  # a defect: see above
            _logger.exception("DNS worker %d cannot be fed", self._pid)
            ours.shutdown(socket.SHUT_RDWR)

    async def _feed(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        turn = asyncio.Lock()

        async def send(data: bytes) -> None:
            async with turn:
                await loop.sock_sendall(ours, data)

        await send(pack_message(FeedKind.SETTINGS, 0, self._settings))
        beating = asyncio.create_task(beat(self._registry, send))
        try:
            await feed(self._registry, send, self._weight_scale)
            await beating
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await beating

    async def _read_reports(self, ours: socket.socket) -> None:
        """Until the worker's end of the pair is closed, which is when it is gone."""
        loop = asyncio.get_running_loop()
        stream = unpacker()
        with suppress(ConnectionError):
            while data := await loop.sock_recv(ours, REPORT_READ_BYTES):
                stream.feed(data)
                for report in stream:
                    self._report = report
                    self._ready.set()


async def _reap(process: subprocess.Popen[bytes]) -> None:
    """The closed feed tells it to go; it is killed when it does not."""
    for _ in range(int(EXIT_S_MAX / REAP_S)):
        if process.poll() is not None:
            return
        await asyncio.sleep(REAP_S)
    process.kill()
    process.wait()
