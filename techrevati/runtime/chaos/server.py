"""A loopback LLM endpoint that fails on a script.

One thread runs an event loop that serves every connection; requests are decided by ``Endpoint`` and carried
out by ``Connection``.  Nothing but the loop's thread is started, unless a *sleep* of your own is given.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos.bill import Outcome
from techrevati.runtime.chaos.connection import Connection
from techrevati.runtime.chaos.credentials import Credentials
from techrevati.runtime.chaos.endpoint import Endpoint
from techrevati.runtime.chaos.faults import Fault
from techrevati.runtime.chaos.prices import Prices
from techrevati.runtime.chaos.scenario import Scenario, checked_seed
from techrevati.runtime.chaos.verdict import Verdict, judged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from techrevati.runtime.chaos.bill import Bill, InjectedRecord
    from techrevati.runtime.chaos.prices import ModelPrice
    from techrevati.runtime.pricing import ModelPricing

DEFAULT_MODELS = ("chaos-large", "chaos-small")
_SLEEPERS = 8
_BACKLOG = 1_024
_STOP_WAIT_S = 10.0
_FAREWELL_S = 1.0


class ChaosServerError(TechrevatiError, RuntimeError):
    """The server cannot do what is asked in its present state, or cannot listen where it was told to."""


class ChaosServer:
    """Serve OpenAI chat completions and responses and Anthropic messages, with the faults of a scenario.

    Args:
        scenario: A ``Scenario``, the name of a bundled one, the path of a TOML file, or a list of faults
            for the first, second, … request with None for "let it pass". None injects nothing.
        host: Where to listen; anything but a loopback address makes it reachable for others.
        port: 0 takes a free one.
        seed: Makes probabilities repeatable; None takes the scenario's.
        run_id: Part of the ids of requests and answers, which repeat with it and the seed; None draws one, so
            that no two servers give the same ids.
        speed: How many seconds of scenario time pass in one real second; waits, windows and the
            Retry-After told to clients are scaled with it.
        api_key: The only key that is let in; None lets everybody in. Keys of requests are never kept.
        models: Names in the list of models; any model name is served.
        max_body_bytes: Larger requests are refused with 413.
        max_connections: Further ones are hung up on at once.
        history: Records kept; older ones are counted in ``dropped``, and a verdict then says so.
        prices: Prices by model name for the cost on the bill, as ``ModelPrice`` or ``ModelPricing``. Others:
            chaos-large 2.50 and 10 US dollars per million tokens in and out, chaos-small 0.25 and 1, all
            other models what ``techrevati.runtime.pricing`` knows; without any price the cost is None.
        on_request: Called with the record of every request that ended, from the server's thread; it must not
            block, and what it raises is logged.
        clock: Monotonic seconds.
        sleep: Waits real seconds instead of the event loop, plain or async; a plain one runs in a pool of 8
            threads and must return before ``stop`` can.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path | Sequence[Fault | None] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        run_id: str | None = None,
        speed: float = 1.0,
        api_key: str | None = None,
        models: Sequence[str] = DEFAULT_MODELS,
        max_body_bytes: int = 4_194_304,
        max_connections: int = 1_024,
        history: int = 10_000,
        prices: Mapping[str, ModelPrice | ModelPricing] | None = None,
        on_request: Callable[[InjectedRecord], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None] | None] | None = None,
    ) -> None:
        self.scenario: Scenario = _scenario(scenario)
        self.host: str = arguments.text("host", host)
        self.seed: int = self.scenario.seed if seed is None else checked_seed(seed)
        self.speed: float = arguments.positive("speed", speed)
        self._asked_port = arguments.count("port", port)
        if port > 65_535:
            raise ValueError(f"port must be an integer from 0 to 65535, got {port!r}")
        self._api_key = api_key
        self._max_body_bytes = arguments.count("max_body_bytes", max_body_bytes, minimum=1)
        self._max_connections = arguments.count("max_connections", max_connections, minimum=1)
        self._sleep = sleep
        self._endpoint = Endpoint(
            self.scenario,
            seed=self.seed,
            speed=self.speed,
            clock=clock,
            models=tuple(models),
            history=arguments.count("history", history, minimum=1),
            listener=on_request,
            prices=Prices(prices),
            run_id=secrets.token_hex(8) if run_id is None else arguments.text("run_id", run_id),
        )
        self._port: int | None = None
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._connections: set[Connection] = set()
        self._credentials = Credentials()
        self._accepted = 0

    # Life.

    def start(self) -> Self:
        """Listen and serve; returns when clients can connect. Scenario time starts now.

        Raises:
            ChaosServerError: Already started once, or the address cannot be listened on.
        """
        if self._port is not None:
            raise ChaosServerError("a ChaosServer starts once; make a new one")
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listener = socket.create_server(
                (self.host, self._asked_port), family=family, backlog=_BACKLOG, reuse_port=False
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise ChaosServerError(f"cannot listen on {self.host}:{self._asked_port}: {reason}") from error
        self._port = int(listener.getsockname()[1])
        ready = Event()
        self._thread = Thread(
            target=self._run, args=(listener, ready), name=f"chaos-server-{self._port}", daemon=True
        )
        self._endpoint.restart_clock()
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Hang up on everybody and end the thread; running requests are billed as aborted. Safe to repeat."""
        thread = self._thread
        if thread is None:
            return
        if self._loop and self._halt:
            try:
                self._loop.call_soon_threadsafe(self._halt.set)
            except RuntimeError:  # the loop has ended by itself
                pass
        thread.join(_STOP_WAIT_S)
        if thread.is_alive():
            raise ChaosServerError("the server did not stop: the given sleep does not return")
        self._thread = None

    def __enter__(self) -> Self:
        """Start it, if it does not run yet: a fixture gives servers that do."""
        return self.start() if self._thread is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if self._thread is None:
            return f"<ChaosServer {self.scenario.name!r} not running>"
        count = len(self._connections)
        return f"<ChaosServer {self.scenario.name!r} {self.origin}, {count} connection{'s' * (count != 1)}>"

    # Where.

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise ChaosServerError("the server has no address before start()")
        return self._port

    @property
    def origin(self) -> str:
        """``http://host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What OpenAI clients call ``base_url``."""
        return f"{self.origin}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """What Anthropic clients call ``base_url``; they add ``/v1`` themselves."""
        return self.origin

    # Books.

    @property
    def injected(self) -> tuple[InjectedRecord, ...]:
        """Every request kept, in the order of arrival, with what was injected; running ones included."""
        return self._endpoint.books.records()

    @property
    def dropped(self) -> int:
        """Records that are no longer in ``injected``; the bill still has them."""
        return self._endpoint.books.dropped

    @property
    def bill(self) -> Bill:
        """What a provider would charge until now."""
        return self._endpoint.books.bill()

    @property
    def now_s(self) -> float:
        """Seconds of scenario time since the start."""
        return self._endpoint.now_s()

    def wait_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until no request is under way, so that the books are final; False after *timeout_s*.

        A client's abort is known to the server a moment after the client.
        """
        return self._endpoint.books.idle(arguments.number("timeout_s", timeout_s))

    def verdict(
        self,
        *,
        declared_requests: int | None = None,
        attempts_per_call: int | None = None,
        answers: Iterable[str] = (),
    ) -> Verdict:
        """Judge how the client behaved, from the records kept.

        Args:
            declared_requests: Physical requests that the client's own books have.
            attempts_per_call: The most attempts that the client says one call takes.
            answers: Texts that the client took for complete answers.
        """
        records = self.injected  # before it is asked what is missing in them
        return judged(
            records,
            declared_requests=declared_requests,
            attempts_per_call=attempts_per_call,
            answers=tuple(answers),
            cut_answers=self._endpoint.cuts.known(),
            speed=self.speed,
            dropped=self._endpoint.books.dropped,
            dropped_chats=self._endpoint.books.dropped_chats,
            dropped_cuts=self._endpoint.cuts.dropped,
        )

    def report(self) -> str:
        """The final table: every request kept, the bill by model, and the verdict."""
        from techrevati.runtime.chaos.report import report_text

        return report_text(self.injected, self.bill, self.verdict(), dropped=self.dropped)

    # The server's own thread.

    def _run(self, listener: socket.socket, ready: Event) -> None:
        loop = asyncio.SelectorEventLoop()
        try:
            loop.run_until_complete(self._serve(listener, ready))
        finally:
            ready.set()
            loop.close()
            listener.close()

    async def _serve(self, listener: socket.socket, ready: Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._halt = asyncio.Event()
        if self._sleep is not None:
            self._pool = ThreadPoolExecutor(_SLEEPERS, thread_name_prefix="chaos-sleep")
        server = await self._loop.create_server(self._connection, sock=listener, backlog=_BACKLOG)
        ready.set()
        await self._halt.wait()
        # A socket that was just accepted must become a connection before the server closes: asyncio
        # would drop it unclosed.
        for each in server.sockets:
            self._loop.remove_reader(each.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        await self._hang_up()
        await server.wait_closed()
        if self._pool:
            self._pool.shutdown()
        self._endpoint.books.each_running(
            lambda number: self._endpoint.books.settled(number, Outcome.ABORTED, self._endpoint.now_s())
        )

    async def _hang_up(self) -> None:
        """Close every connection; whoever does not read what is left for him is cut off."""
        for at_once in (False, True):
            connections = list(self._connections)
            for connection in connections:
                connection.close(at_once=at_once)
            gone = [asyncio.ensure_future(connection.gone.wait()) for connection in connections]
            if gone:
                await asyncio.wait(gone, timeout=_FAREWELL_S)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in a callback of their own

    def _connection(self) -> asyncio.BaseProtocol:
        if len(self._connections) >= self._max_connections:
            return _Unwelcome()
        self._accepted += 1
        connection = Connection(
            self._endpoint,
            self._accepted,
            pause=self._pause,
            max_body_bytes=self._max_body_bytes,
            api_key=self._api_key,
            credentials=self._credentials,
            closed=self._connections.discard,
        )
        self._connections.add(connection)
        return connection

    async def _pause(self, scenario_s: float) -> None:
        real_s = scenario_s / self.speed
        if self._sleep is None:
            await asyncio.sleep(real_s)
        elif inspect.iscoroutinefunction(self._sleep):
            await self._sleep(real_s)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._sleep, real_s)


class _Unwelcome(asyncio.Protocol):
    """Hangs up at once: there are too many connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _scenario(given: Scenario | str | Path | Sequence[Fault | None] | None) -> Scenario:
    if given is None:
        return Scenario()
    if isinstance(given, Scenario):
        return given
    if isinstance(given, (str, Path)):
        return Scenario.load(given)
    faults = list(given)
    for one in faults:
        if one is not None and not isinstance(one, Fault):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"scenario must be a Scenario, a name, a path or a list of Fault, got {one!r} in it"
            )
    return Scenario.script(faults)
