"""One assembled node: engine, registry, DNS front and HTTP API, from start to drained stop."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

from . import logs
from .addresses import Address
from .api import ApiConfig, ApiServer, CannotListen
from .clock import LeaseClock
from .config import ServeConfig
from .dns import DnsConfig, DnsFront, DnsFrontError, RateLimits, TransferConfig
from .dns_metrics import dns_metrics
from .registry import Registry
from .registry.engine import Engine, EngineError, SqliteEngine
from .tls import PeerTls, ServerTls, TlsError, files_of, reload_all, require_safe_peers

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""The board's objects make no cycles: looking for some at every 700 allocations, as Python
does by itself, would walk a growing board again and again for nothing."""

EXIT_FAILED: Final = 70
"""A defect of ours (EX_SOFTWARE of sysexits): whoever supervises the node starts it again."""

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
        try:
            registry = await _start(config, stack, stop)
        except (EngineError, DnsFrontError, CannotListen, TlsError) as error:
            raise StartError(str(error)) from error
        await stop.wait()
        _log.info("stopping")
    return EXIT_FAILED if registry.failed else 0


async def _start(config: ServeConfig, stack: AsyncExitStack, stop: asyncio.Event) -> Registry:
    """Bring up each part, and leave its closing on `stack`: the last started stops first."""
    http_tls = _http_tls(config)
    peer_tls = _peer_tls(config)
    engine = await _open_engine(config)
    stack.push_async_callback(engine.close)
    registry = Registry(
        engine,
        node=config.name,
        default_ttl_s=config.default_ttl_s,
        clock=LeaseClock(),
        on_failure=stop.set,
    )
    stack.push_async_callback(registry.close)
    with _collector_paused():
        await registry.start()
    dns = DnsFront(_dns_config(config), registry)
    stack.push_async_callback(dns.close)
    await dns.start()
    api = ApiServer(registry, ApiConfig(*config.http, http_tls.context if http_tls else None))
    api.metrics.add(lambda: dns_metrics(dns.stats()))
    stack.push_async_callback(api.close)
    await api.start()
    dns.succeed()
    certificates = [part for part in (http_tls, peer_tls) if part is not None]
    if certificates:  # without any, a hangup ends the node as it ends every other program
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_all, certificates)
    _say_ready("https" if http_tls else "http", api, dns)
    return registry


async def _open_engine(config: ServeConfig) -> Engine:
    if config.etcd is None:
        return await SqliteEngine.open(config.data_dir, node=config.name)
    from .registry.engine.etcd import EtcdEngine, EtcdSettings  # gRPC takes 0.2 s to load

    settings = EtcdSettings(
        endpoints=config.etcd,
        prefix=config.etcd_prefix,
        ca=config.etcd_ca,
        cert=config.etcd_cert,
        key=config.etcd_key,
        user=config.etcd_user.name if config.etcd_user else "",
        password=config.etcd_user.password if config.etcd_user else "",
    )
    return await EtcdEngine.open(settings, node=config.name)


def _dns_config(config: ServeConfig) -> DnsConfig:
    return DnsConfig(
        host=config.dns.host,
        port=config.dns.port,
        zones=config.zones,
        ttl_s=config.dns_ttl_s,
        weight_scale=config.srv_weight_scale,
        workers=config.dns_workers,
        outlives=config.dns_outlive,
        max_stale_s=config.dns_max_stale_s,
        limits=RateLimits(config.dns_rrl, config.dns_rrl_rate, config.dns_rrl_slip),
        transfer=TransferConfig(config.dns_transfer, config.dns_notify, config.dns_tsig_key),
        forward=config.forward and (config.forward.host, config.forward.port),
    )


def _http_tls(config: ServeConfig) -> ServerTls | None:
    given = (config.http_cert, config.http_key, config.http_client_ca)
    files = files_of("http", "http-client-ca", *given)
    return ServerTls(files) if files else None


def _peer_tls(config: ServeConfig) -> PeerTls | None:
    files = files_of("peer", "peer-ca", config.peer_cert, config.peer_key, config.peer_ca)
    peers = PeerTls(files) if files else None
    require_safe_peers(config.peer, peers, insecure=config.insecure_peers)
    return peers


def _say_ready(scheme: str, api: ApiServer, dns: DnsFront) -> None:
    """One line for each listener, once all of them answer; people and scripts wait for these."""
    sys.stdout.write(f"http  {scheme}://{Address(*api.address)}\n")
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
