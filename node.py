"""One assembled node: engine, registry, DNS front and HTTP API, from start to drained stop."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

from . import __version__, descriptors, exit_codes, logs
from .addresses import Address
from .api import CONNECTIONS_MAX, ApiAddress, ApiConfig, ApiServer, CannotListen, Starting
from .clock import LeaseClock
from .config import ServeConfig
from .dns import DnsConfig, DnsFront, DnsFrontError, DnsIdentity, RateLimits, TransferConfig
from .dns_metrics import dns_metrics
from .engines import advertised_host, hand_over, open_engine
from .registry import CannotRelay, MassExpiry, Registry
from .registry.engine import Engine, EngineError
from .tls import PeerTls, ServerTls, TlsError, files_of, reload_all, require_safe_peers

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""The board's objects make no cycles: looking for some at every 700 allocations, as Python
does by itself, would walk a growing board again and again for nothing."""

_log: Final = logging.getLogger("callboard.node")


class StartError(Exception):
    """The node could not start; the message is one line for the person who started it."""


def run(config: ServeConfig) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Raises `StartError`."""
    logs.configure(config.log_level, config.log_format)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config))


async def _serve(config: ServeConfig) -> int:
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        node = _Node(config, stack, stop)
        try:
            if not await _unless_stopped(node.start(), stop):
                return node.exit_code
        except (EngineError, DnsFrontError, CannotListen, CannotRelay, TlsError) as error:
            raise StartError(str(error)) from error
        await stop.wait()
        _log.info("stopping")
        await node.hand_over()
    return node.exit_code


async def _unless_stopped(starting: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether it came to its end before `stop`: a cluster may wait long for its majority."""
    task = asyncio.create_task(starting)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


class _Node:
    """The parts; what must be closed is left on `stack`: the last started stops first."""

    def __init__(self, config: ServeConfig, stack: AsyncExitStack, stop: asyncio.Event) -> None:
        self._config = config
        self._stack = stack
        self._stop = stop
        self._engine: Engine | None = None
        self._registry: Registry | None = None
        self._removed = False

    @property
    def exit_code(self) -> int:
        if self._removed:
            return exit_codes.REMOVED
        return exit_codes.FAILED if self._registry is not None and self._registry.failed else 0

    async def start(self) -> None:
        """Bring up each part."""
        config, stack = self._config, self._stack
        http_tls, peer_tls = _http_tls(config), _peer_tls(config)
        address = ApiAddress(_api_config(config, http_tls))
        stack.callback(address.close)
        starting = Starting(address)
        stack.push_async_callback(starting.close)
        await starting.start()
        starting.waits_for = "its engine" if config.cluster is None else "a majority of its cluster"
        engine = self._engine = await open_engine(config, peer_tls, stack, self._on_removed)
        registry = self._registry = Registry(
            engine,
            node=config.name,
            default_ttl_s=config.default_ttl_s,
            clock=LeaseClock(),
            mass_expiry=MassExpiry(config.mass_expiry_share, config.mass_expiry_hold_s),
            on_failure=self._stop.set,
        )
        stack.push_async_callback(registry.close)
        if config.cluster is not None or config.etcd is not None:
            host, port = config.calls
            await registry.renewals.listen(host, port, advertised_host(config), peer_tls)
        starting.waits_for = "the board, which is being loaded"
        with _collector_paused():
            await registry.start()
        dns = DnsFront(_dns_config(config), registry)
        stack.push_async_callback(dns.close)
        await dns.start()
        api = ApiServer(registry, address)
        api.metrics.add(lambda: dns_metrics(dns.stats()))
        stack.push_async_callback(api.close)
        await starting.close()
        await api.start()
        dns.succeed()
        certificates = [part for part in (http_tls, peer_tls) if part is not None]
        if certificates:  # without any, a hangup ends the node as it ends every other program
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, reload_all, certificates)
        _say_ready("https" if http_tls else "http", address, dns)

    async def hand_over(self) -> None:
        """While it still serves: others keep the leases and lead when it is gone."""
        if self._engine is not None and not self._removed:
            await hand_over(self._engine)

    def _on_removed(self) -> None:
        _log.critical("this node has been removed from its cluster: it stops")
        self._removed = True
        self._stop.set()


def _api_config(config: ServeConfig, tls: ServerTls | None) -> ApiConfig:
    return ApiConfig(
        *config.http,
        tls=tls.context if tls else None,
        connections_max=descriptors.left_for_clients(descriptors.raise_limit(), CONNECTIONS_MAX),
    )


def _dns_config(config: ServeConfig) -> DnsConfig:
    return DnsConfig(
        host=config.dns.host,
        port=config.dns.port,
        zones=config.zones,
        ns_addresses=config.ns_addresses,
        reverse_zones=config.reverse_zones,
        ttl_s=config.dns_ttl_s,
        weight_scale=config.srv_weight_scale,
        workers=config.dns_workers,
        outlives=config.dns_outlive,
        max_stale_s=config.dns_max_stale_s,
        limits=RateLimits(config.dns_rrl, config.dns_rrl_rate, config.dns_rrl_slip),
        transfer=TransferConfig(config.dns_transfer, config.dns_notify, config.dns_tsig_key),
        forward=config.forward and (config.forward.host, config.forward.port),
        cookie_secret_file=config.dns_cookie_secret,
        identity=_dns_identity(config),
    )


def _dns_identity(config: ServeConfig) -> DnsIdentity:
    nsid = (config.dns_nsid or "").encode("ascii")
    version = f"callboard {__version__}".encode("ascii")
    return DnsIdentity(
        nsid,
        chaos_identity=nsid if config.dns_chaos != "off" else b"",
        chaos_version=version if config.dns_chaos == "all" else b"",
    )


def _http_tls(config: ServeConfig) -> ServerTls | None:
    given = (config.http_cert, config.http_key, config.http_client_ca)
    files = files_of("http", "http-client-ca", *given)
    return ServerTls(files) if files else None


def _peer_tls(config: ServeConfig) -> PeerTls | None:
    files = files_of("peer", "peer-ca", config.peer_cert, config.peer_key, config.peer_ca)
    peers = PeerTls(files) if files else None
    for address in (config.peer, config.calls):
        require_safe_peers(address, peers, insecure=config.insecure_peers)
    return peers


def _say_ready(scheme: str, api: ApiAddress, dns: DnsFront) -> None:
    """One line for each listener, once all of them answer; people and scripts wait for these."""
    sys.stdout.write(f"http  {scheme}://{Address(api.host, api.port)}\n")
    sys.stdout.write(f"dns   {Address(*dns.address)} (udp, tcp)\n")
    sys.stdout.flush()


@contextmanager
def _collector_paused() -> Iterator[None]:
    """While the board is loaded nothing becomes garbage; afterwards what is there stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()


def _stop_on_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(signum: int) -> None:
        if stop.is_set():
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal, signum)
    return stop


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # another Python than CPython: asyncio's own loop serves
        return None
    return uvloop.new_event_loop
