"""The endpoint without its sockets: a request goes in, a plan comes out, the books are kept.

Used by one thread at a time; only the books may be read from elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import scrubbed
from techrevati.runtime.chaos.anthropic_wire import AnthropicWire
from techrevati.runtime.chaos.bill import FREE, NOTHING, InjectedRecord, Outcome
from techrevati.runtime.chaos.books import Books
from techrevati.runtime.chaos.calls import Calls, Claim
from techrevati.runtime.chaos.cut_answers import CutAnswers
from techrevati.runtime.chaos.embeddings import embedding_request, embeddings
from techrevati.runtime.chaos.extractive import cut, extractive_reply
from techrevati.runtime.chaos.faults import Fault, FaultKind
from techrevati.runtime.chaos.openai_wire import OpenAIWire
from techrevati.runtime.chaos.plan import (
    Framing,
    Plan,
    answer_plan,
    head,
    output_tokens,
    plain_plan,
    refusal_plan,
    scripted,
    whole_answer_plan,
)
from techrevati.runtime.chaos.prices import Prices
from techrevati.runtime.chaos.prompt_cache import PromptCache, input_tokens
from techrevati.runtime.chaos.responses_wire import ResponsesWire
from techrevati.runtime.chaos.routes import Route, routed
from techrevati.runtime.chaos.scenario import Asked, Scenario, Tally, decided
from techrevati.runtime.chaos.shape import mapping, parsed
from techrevati.runtime.chaos.stored_chats import StoredChats, check_metadata
from techrevati.runtime.chaos.wire import Generation, InvalidRequestError, RefusalFacts, Wire, compact

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.chaos.bill import BilledUsage
    from techrevati.runtime.chaos.conversation import Conversation
    from techrevati.runtime.chaos.http_reader import MalformedRequestError

MAX_NAME_LENGTH = 200
_OPENAI, _ANTHROPIC = OpenAIWire(), AnthropicWire()
_ANTHROPIC_ROUTES = (Route.MESSAGES, Route.COUNT_TOKENS)


@dataclass(frozen=True, slots=True)
class Request:
    """What is kept of an HTTP request; headers that may hold keys never come this far.

    *key_ok* is False when a key is asked for and another one came.  *credential* is the number of the key
    that came.  *tag* is the client's own id of a call, *retry* which retry the client says this is.
    """

    method: str
    path: str
    body: bytes = field(repr=False)
    query: str = field(default="", repr=False)
    connection: int = 0
    tag: str = ""
    key_ok: bool = True
    credential: int = 0
    retry: int | None = None
    framing: Framing = field(default_factory=Framing)
    too_large: bool = False


class Endpoint:
    """Decides every answer. Times are seconds of scenario time since *clock* was first read."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        speed: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        models: tuple[str, ...] = (),
        history: int = 10_000,
        listener: Callable[[InjectedRecord], object] | None = None,
        prices: Prices | None = None,
        run_id: str = "",
    ) -> None:
        self.books: Books = Books(history, listener, cost=(prices or Prices()).cost, ended=self._ended)
        self.cuts: CutAnswers = CutAnswers()
        self._scenario = scenario
        self._seed = seed
        self._run_id = run_id
        self._speed = speed
        self._clock = clock
        self._wall_clock = wall_clock
        self._models = models
        self._start = clock()
        self._tally: Tally = ()
        self._cache = PromptCache()
        self._calls = Calls()
        self._responses = ResponsesWire()
        self._chats = StoredChats()
        self._wires: dict[Route | None, Wire] = {
            Route.CHAT: _OPENAI,
            Route.RESPONSES: self._responses,
            Route.MESSAGES: _ANTHROPIC,
            Route.EMBEDDINGS: _OPENAI,  # for what is wrong with a request, and for refusals
        }
        self._sequence = 0
        self._rejected = 0

    def now_s(self) -> float:
        """Seconds of scenario time since the start."""
        return (self._clock() - self._start) * self._speed

    def restart_clock(self) -> None:
        """Scenario time starts now."""
        self._start = self._clock()

    def _ended(self, record: InjectedRecord) -> None:
        self._calls.ended(record)
        self.cuts.ended(record)

    def answered(self, request: Request) -> tuple[int, Plan]:
        """The sequence number and the plan for *request*; the books have it as running.

        Never raises: what breaks in here is answered with 500, as a provider would, and is in the books.
        """
        self._sequence += 1
        record = self._record(request)
        wire = self._wires.get(routed(request.path)[0]) or (
            _ANTHROPIC if "/messages" in request.path else _OPENAI
        )
        try:
            plan = self._plan(request, wire, record)
        except Exception:
            logger("chaos").warning("request %d of a ChaosServer failed", self._sequence, exc_info=True)
            refusal = wire.refusal(
                Fault(FaultKind.SERVER_ERROR),
                RefusalFacts(record.request_id, "", 0, None, self._wall_clock()),
            )
            self.books.opened(replace(record, status=refusal.status, retryable=True, cost_usd=FREE))
            plan = refusal_plan(refusal, request.framing, Outcome.FAILED)
        return self._sequence, plan.without_body() if request.method == "HEAD" else plan

    def rejection(self, error: MalformedRequestError) -> bytes:
        """The response to what is no HTTP request; it is not in the books, and the connection ends."""
        self._rejected += 1
        request_id = self._id("req_", f"rejected {self._rejected}", 24)
        refusal = _OPENAI.invalid(
            InvalidRequestError(f"Bad request: {error}.", status=error.status), request_id
        )
        closing = Framing(keep_open=False)
        return head(refusal.status, refusal.headers, closing, len(refusal.body)) + refusal.body

    def _plan(self, request: Request, wire: Wire, record: InjectedRecord) -> Plan:
        try:
            _check(request)
            route = routed(request.path)[0]
            if request.method == "GET" and route in (Route.CHAT, Route.STORED):
                return self._stored(request, record)
            if route in self._wires:
                if request.method != "POST":
                    raise InvalidRequestError(
                        "Only POST requests are accepted.", status=405, code="method_not_supported"
                    )
                if route is Route.EMBEDDINGS:
                    return self._embedded(request, record)
                return self._chat(request, wire, record)
            return self._other(request, record)
        except (InvalidRequestError, RecursionError) as problem:
            error = (
                problem
                if isinstance(problem, InvalidRequestError)
                else InvalidRequestError("The request is nested too deeply.")
            )
            refusal = wire.invalid(error, record.request_id)
            self.books.opened(replace(record, status=error.status, retryable=False, cost_usd=FREE))
            framing = Framing(keep_open=False) if request.too_large else request.framing
            return refusal_plan(refusal, framing, Outcome.INVALID)

    def _record(self, request: Request) -> InjectedRecord:
        at_s = self.now_s()
        identity = request.method.encode() + b" " + request.path.encode("utf-8", "replace") + b"\0"
        digest = hashlib.sha256(identity + request.body).hexdigest()[:12]
        claim = Claim(digest, request.credential, request.tag, request.retry)
        call, attempt = self._calls.attempt(self._sequence, claim, at_s)
        return InjectedRecord(
            sequence=self._sequence,
            api="anthropic" if routed(request.path)[0] in _ANTHROPIC_ROUTES else "openai",
            path=scrubbed(request.path)[:MAX_NAME_LENGTH],
            model="",
            fault=None,
            rule=None,
            status=None,
            stream=False,
            outcome=Outcome.RUNNING,
            billed=NOTHING,
            request_id=self._id("req_", "request", 24),
            call=call,
            connection=request.connection,
            arrived_s=at_s,
            attempt=attempt,
            credential=request.credential,
            digest=digest,
            named=bool(request.tag),
            cost_usd=FREE,
        )

    def _id(self, prefix: str, kind: str, length: int) -> str:
        text = f"{self._run_id}:{self._seed}:{self._scenario.name}:{self._sequence}:{kind}"
        return prefix + hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:length]

    def _chat(self, request: Request, wire: Wire, record: InjectedRecord) -> Plan:
        body = _json_object(request.body)
        if deployment := routed(request.path)[1]:
            body.setdefault("model", deployment)
        talk = wire.conversation(body)
        if wire is _OPENAI:
            check_metadata(body)
        model = scrubbed(talk.model)[:MAX_NAME_LENGTH]
        tokens = input_tokens(talk)
        asked = Asked(talk.model, wire.api, talk.stream, tokens, record.arrived_s)
        record = replace(record, model=model, stream=talk.stream, carries=self.cuts.carried(talk))
        record, fault = self._fated(record, asked)
        return self._refused(fault, wire, request, record, tokens) or self._generated(
            talk, body, fault, wire, request, record
        )

    def _embedded(self, request: Request, record: InjectedRecord) -> Plan:
        body = _json_object(request.body)
        if deployment := routed(request.path)[1]:
            body.setdefault("model", deployment)
        wanted = embedding_request(body)
        usage = wanted.usage
        asked = Asked(wanted.model, _OPENAI.api, False, usage.input_tokens, record.arrived_s)
        record = replace(record, model=scrubbed(wanted.model)[:MAX_NAME_LENGTH])
        record, fault = self._fated(record, asked)
        if refused := self._refused(fault, _OPENAI, request, record, usage.input_tokens):
            return refused
        headers = _OPENAI.success_headers(record.request_id)
        plan = whole_answer_plan(embeddings(wanted), 0, fault, request.framing, headers)
        self._billed(replace(record, status=plan.status), usage)
        return plan

    def _fated(self, record: InjectedRecord, asked: Asked) -> tuple[InjectedRecord, Fault | None]:
        """What the scenario says of a request, and the record with it."""
        self._tally, rule, fault = decided(self._scenario.rules, self._tally, asked, self._seed)
        if fault is None:
            return replace(record, rule=rule), None
        told = replace(
            record, fault=fault.kind, rule=rule, retry_after_s=_told(fault), retryable=fault.retryable
        )
        return told, fault

    def _billed(self, record: InjectedRecord, usage: BilledUsage) -> None:
        self.books.opened(record, usage)
        self.books.generated(self._sequence, 0)

    def _refused(
        self, fault: Fault | None, wire: Wire, request: Request, record: InjectedRecord, tokens: int
    ) -> Plan | None:
        """The refusal, if *fault* is one; an error inside a stream is one for a plain answer."""
        if fault is None or not (
            fault.refuses or (fault.kind is FaultKind.MID_STREAM_ERROR and not record.stream)
        ):
            return None
        if not fault.refuses:
            fault = Fault(FaultKind.SERVER_ERROR, message=fault.message)
        wait_s = None if fault.retry_after_s is None else fault.retry_after_s / self._speed
        facts = RefusalFacts(record.request_id, record.model, tokens, wait_s, self._wall_clock())
        plan = refusal_plan(wire.refusal(fault, facts), request.framing)
        self.books.opened(replace(record, status=plan.status))
        return plan

    def _generated(
        self,
        talk: Conversation,
        body: dict[str, object],
        fault: Fault | None,
        wire: Wire,
        request: Request,
        record: InjectedRecord,
    ) -> Plan:
        whole = scripted(extractive_reply(talk), None, self._sequence)
        reply = cut(scripted(whole, fault, self._sequence), talk)
        usage = replace(self._cache.input_usage(talk, api=wire.api), output_tokens=output_tokens(reply))
        made = Generation(
            id=self._id(wire.id_prefix, "answer", 24),
            model=talk.model,
            created=int(self._wall_clock()),
            reply=reply,
            usage=usage,
            stream_usage=talk.stream_usage,
            request=body,
        )
        plan = answer_plan(
            wire, made, fault, request.framing, stream=talk.stream, request_id=record.request_id
        )
        if wire is self._responses and plan.outcome is Outcome.COMPLETE:
            self._responses.store(made, talk)
        if wire is _OPENAI and (not talk.stream or plan.outcome is Outcome.COMPLETE):
            self._chats.store(made, wire.plain(made))  # also where the answer is lost on its way
        self.cuts.planned(self._sequence, talk, reply, plan.cut_text)
        self._billed(replace(record, status=plan.status), usage)
        return plan

    def _other(self, request: Request, record: InjectedRecord) -> Plan:
        """Lists of models and token counts; never billed and never faulty."""
        route = routed(request.path)[0]
        if request.method == "POST" and route is Route.COUNT_TOKENS:
            body: object = {"input_tokens": input_tokens(_ANTHROPIC.prompt(_json_object(request.body)))}
        elif request.method == "GET" and route is Route.MODELS:
            owned = {"object": "model", "created": 0, "owned_by": "chaos", "type": "model"}
            body = {
                "object": "list",
                "data": [{"id": name, **owned} for name in self._models],
                "has_more": False,
            }
        else:
            text = f"Invalid URL ({scrubbed(request.method)[:20]} {scrubbed(request.path)[:MAX_NAME_LENGTH]})"
            raise InvalidRequestError(text, status=404)
        return self._free(body, request, record)

    def _stored(self, request: Request, record: InjectedRecord) -> Plan:
        """What the client had stored; never billed and never faulty."""
        if routed(request.path)[0] is Route.STORED:
            return self._free(self._chats.one(request.path.rpartition("/")[2]), request, record)
        # Not under the path of the chats: it asks no model, and the verdict must not take it for one.
        record = replace(record, path=record.path + "/")
        return self._free(self._chats.listed(request.query), request, record)

    def _free(self, body: object, request: Request, record: InjectedRecord) -> Plan:
        self.books.opened(replace(record, status=200))
        headers = {"content-type": "application/json", "x-request-id": record.request_id}
        return plain_plan(200, headers, compact(body), request.framing, Outcome.COMPLETE)


def _check(request: Request) -> None:
    if request.too_large:
        raise InvalidRequestError("Request body is too large.", status=413, code="request_too_large")
    if not request.key_ok:
        raise InvalidRequestError("Incorrect API key provided.", status=401, code="invalid_api_key")


def _json_object(body: bytes) -> dict[str, object]:
    value = parsed(body.decode("utf-8", "replace"))
    if not isinstance(value, dict):
        raise InvalidRequestError("We could not parse the JSON body of your request.")
    return mapping(body and value)


def _told(fault: Fault | None) -> float | None:
    return fault.retry_after_s if fault and fault.refuses and fault.retry_after_as != "none" else None
