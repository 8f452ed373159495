"""A registration that looks after itself: renewed, checked, made again when it was lost."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Generator
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from . import requests
from .calling import Caller
from .checks import CheckRunner, Health
from .errors import CallboardError, NotFound
from .renewing import Renewing
from .request import Request
from .results import Instance
from .tasks import cancel_and_wait

DEREGISTER_S_MAX: Final = 5.0
"""A program that ends does not wait longer for its farewell; the lease runs out by itself."""

_log: Final = logging.getLogger("callboard")


def made_id(service: str) -> str:
    """An id of our own making: a registration that is repeated must name the same instance."""
    return f"{service[:50]}-{secrets.token_hex(4)}"


class AsyncRegistration:
    """From `AsyncClient.register`: `await` it, or `async with` it to deregister at the end.

    It belongs to its client, and ends with it.
    """

    def __init__(
        self,
        caller: Caller,
        put: Callable[[Health | None], Request[Instance]],
        *,
        service: str,
        instance_id: str,
        namespace: str,
        check: CheckRunner | None,
        check_interval_s: float,
        timeout_s: float,
        began: Callable[["AsyncRegistration"], None],
        ended: Callable[["AsyncRegistration"], None],
    ) -> None:
        """Between `began` and `ended` its client has to close it."""
        self.service = service
        self.id = instance_id
        self.namespace = namespace
        self._caller = caller
        self._put = put
        self._check = check
        self._check_interval_s = check_interval_s
        self._timeout_s = timeout_s
        self._began = began
        self._ended = ended
        self._instance: Instance | None = None
        self._health: Health | None = None
        self._renewing = Renewing(0)
        self._renewed_at = 0.0
        self._failure: CallboardError | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def instance(self) -> Instance:
        """As the server last showed it at a registration."""
        if self._instance is None:
            raise RuntimeError("not registered yet: await the registration, or enter it")
        return self._instance

    @property
    def failure(self) -> CallboardError | None:
        """Why the last renewal failed; None when it went well."""
        return self._failure

    @property
    def renewed_ago_s(self) -> float:
        """How long ago a server last confirmed it."""
        return monotonic() - self._renewed_at

    async def start(self) -> Self:
        """Register, and renew from now on. Raises `CallboardError`."""
        self._refuse_closed()
        if self._tasks:
            return self
        self._began(self)
        try:
            if self._check is not None:
                self._health = await self._check.run()
            await self._register()
        except BaseException:
            self._ended(self)
            if self._check is not None:
                await self._check.close()
            raise
        if self._closed:  # meanwhile
            await self._deregister()
        self._refuse_closed()
        self._tasks.append(asyncio.create_task(self._renew(), name=f"callboard-renew-{self.id}"))
        if self._check is not None:
            checking = asyncio.create_task(
                self._keep_checking(self._check), name=f"callboard-check-{self.id}"
            )
            self._tasks.append(checking)
        return self

    async def set_status(self, status: str, output: str = "") -> None:
        """Tell it now, and with every renewal from now on. Raises `CallboardError`.

        With a check, the check's next result replaces it.
        """
        self._health = Health(status, output)
        await self._beat(self._timeout_s)

    async def close(self) -> None:
        """Stop renewing and deregister; a server that cannot be reached is only logged."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            await cancel_and_wait(task)
        if self._check is not None:
            await self._check.close()
        try:
            await self._deregister()
        finally:
            self._ended(self)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this registration has ended: make a new one")

    async def _deregister(self) -> None:
        if self._instance is None or self._caller.closed:
            return
        request = requests.deregister(self.service, self.id, namespace=self.namespace)
        try:
            await self._caller.call(request, min(self._timeout_s, DEREGISTER_S_MAX))
        except NotFound:
            _log.debug("%s was deregistered already", self.id)
        except CallboardError as error:
            _log.warning("%s could not be deregistered, its lease runs out: %s", self.id, error)

    async def _register(self) -> None:
        self._instance = await self._caller.call(self._put(self._health), self._timeout_s)
        self._renewed()
        self._renewing = Renewing(self._instance.ttl)

    def _renewed(self) -> None:
        self._renewed_at = monotonic()
        self._failure = None

    async def _beat(self, timeout_s: float) -> None:
        """Renew; register again when the server no longer knows the instance."""
        status, output = self._health or (None, None)
        request = requests.heartbeat(
            self.service, self.id, status=status, output=output, namespace=self.namespace
        )
        try:
            await self._caller.call(request, timeout_s)
        except NotFound:
            _log.info("%s is no longer registered: registering it again", self.id)
            await self._register()
        else:
            self._renewed()

    async def _renew(self) -> None:
        wait_s = self._renewing.after_success_s()
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._beat(self._renewing.call_timeout_s(self._timeout_s))
                wait_s = self._renewing.after_success_s()
            except CallboardError as error:
                if self._failure is None:
                    _log.warning("%s could not be renewed, trying on: %s", self.id, error)
                self._failure = error
                wait_s = self._renewing.after_failure_s()

    async def _keep_checking(self, check: CheckRunner) -> None:
        while True:
            await asyncio.sleep(self._check_interval_s)
            found = await check.run()
            if found != self._health:
                self._health = found
                self._wake.set()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, "AsyncRegistration"]:
        return self.start().__await__()

    def __repr__(self) -> str:
        return f"AsyncRegistration({self.service!r}, {self.id!r}, namespace={self.namespace!r})"
