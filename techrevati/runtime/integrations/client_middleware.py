"""Clients with middleware, which decides what is sent: nothing, another model, the same again.

anthropic runs it inside of one ``request``.  So that each physical request is guarded, one more middleware
stands behind those of the client, for one call: what passes it is sent, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime.integrations.answers import Listener, estimate_of, usage_of, was_not_sent
from techrevati.runtime.integrations.model_request import api_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from techrevati.runtime.integrations.call_guard import CallGuard
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.usage import UsageSnapshot


def middleware_of(client: Any) -> tuple[Any, ...]:
    """What stands between a client's ``request`` and the network; empty for most.

    Also for one whose class cannot copy it with more: its calls count as one request each.
    """
    found = getattr(client, "middleware", ())
    if not isinstance(found, tuple) or not found:
        return ()
    try:
        type(client).copy(client, middleware=[*found])
    except Exception as error:
        logger("integrations").warning(
            "requests that the middleware of %s makes are not told apart: its copy(middleware=) failed (%s)",
            type(client).__name__,
            type(error).__name__,
        )
        return ()
    return found


class Innermost:
    """The last middleware of one call.

    Args:
        guarding: What begins every request but the first.
        begun: The first, which was begun for the call.
        body: What *begun* was begun for.
        read: From an API and a body to what is asked.
    """

    def __init__(
        self,
        guarding: CallGuard,
        begun: PhysicalRequest,
        body: object,
        read: Callable[[str, Mapping[str, object]], ModelRequest],
    ) -> None:
        self._guarding = guarding
        self._begun: PhysicalRequest | None = begun
        self._number = begun.number
        self._body = body
        self._read = read

    def leave(self) -> None:
        """The call has its answer, or its error: what was begun and not sent is given back."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.unsent()

    async def aleave(self) -> None:
        """:meth:`leave` without blocking the event loop while a ledger is written."""
        begun, self._begun = self._begun, None
        if begun is not None:
            await begun._aunsent()

    def handle(self, request: Any, call_next: Callable[[Any], Any]) -> Any:
        """Send one request of a synchronous client, guarded."""
        made, asked = self._taken(request.options)
        if made is None:
            if asked is None:
                return call_next(request)
            self.leave()  # the middleware asks for something else: it may cost more
            made = self._guarding.begin(asked, self._number)
        try:
            answer = call_next(request)
        except BaseException as error:
            made.unsent() if was_not_sent(error) else made.fail(error)
            raise
        http = answer.http_response
        refusal = _refusal(http)
        if refusal is not None:
            made.fail(refusal)
        elif http.is_closed:
            usage, measured = _used(made, http.content)
            made.finish(usage, measured=measured)
        else:
            Listener(made, http, hide_usage=False).attach(http)
        return answer

    async def ahandle(self, request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Send one request of an asynchronous client, guarded."""
        made, asked = self._taken(request.options)
        if made is None:
            if asked is None:
                return await call_next(request)
            await self.aleave()
            made = await self._guarding.abegin(asked, self._number)
        try:
            answer = await call_next(request)
        except BaseException as error:
            await (made._aunsent() if was_not_sent(error) else made.afail(error))
            raise
        http = answer.http_response
        refusal = _refusal(http)
        if refusal is not None:
            await made.afail(refusal)
        elif http.is_closed:
            usage, measured = _used(made, http.content)
            await made.afinish(usage, measured=measured)
        else:
            Listener(made, http, hide_usage=False).aattach(http)
        return answer

    def _taken(self, options: Any) -> tuple[PhysicalRequest | None, ModelRequest | None]:
        """What was begun for this request already, or what must be begun; neither for other APIs."""
        body = options.json_data
        if self._begun is not None and body is self._body:
            begun, self._begun = self._begun, None
            return begun, None
        api = api_of(options.method, options.url)
        if api is None or not isinstance(body, Mapping):
            return None, None
        extra = options.extra_json
        return None, self._read(api, {**body, **extra} if isinstance(extra, Mapping) else body)


def _refusal(http: Any) -> Exception | None:
    """Why the provider refused; None when it did not.  The SDK makes its error of it later."""
    if http.is_success:
        return None
    try:
        http.raise_for_status()
    except Exception as error:
        return error
    return None


def _used(made: PhysicalRequest, content: bytes) -> tuple[UsageSnapshot, bool]:
    """What a whole answer says it used, and whether it does say so."""
    if made.answered is not None:
        made.answered.whole(content)
    usage = usage_of(content)
    return (estimate_of(content, made.request), False) if usage is None else (usage, True)
