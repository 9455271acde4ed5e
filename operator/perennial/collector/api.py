"""The collector's HTTP interface.

Who calls must prove who it is (401), and be allowed to (403): `perennial.collector.access`. Bad input is 400 with one
sentence and changes nothing; large bodies are 413.
"""

import logging
from collections.abc import Awaitable, Callable
from sqlite3 import Error as DatabaseError
from time import time

from aiohttp import web

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import State
from perennial.api.messages.wire import Wire
from perennial.collector import access
from perennial.collector.access import Access, Rule
from perennial.collector.bodies import BadInputError, read_labels, read_predictions
from perennial.collector.metrics import exposition
from perennial.collector.service import Collector
from perennial.payload import PayloadError, decoded
from perennial.terms.text import clip

MOST_BYTES = 4 * 1024 * 1024
MOST_WAIT_SECONDS = 60.0

RULES = {
    ("PUT", "/v1/policy"): Rule(access.operator, "the operator"),
    ("GET", "/v1/state"): Rule(access.reader, "the operator or a service account of namespace {namespace}"),
    ("POST", "/v1/predictions"): Rule(
        access.neighbour, "a service account of namespace {namespace}", lambda trust: trust.unproven_predictions
    ),
    ("POST", "/v1/labels"): Rule(
        access.labeller,
        "a service account that the ModelDeployment's spec.labels.from names (without it: of namespace {namespace})",
    ),
    ("POST", "/v3/discovery:runtime"): Rule(access.neighbour, "a router, which is in namespace {namespace}"),
}
UNGUARDED = frozenset({"/metrics", "/healthz", "/readyz"})
"""The probes and the metrics tell no row and change nothing."""

PATHS = sorted({path for _, path in RULES} | UNGUARDED)
MOST_TOLD = 1024
INTERNAL = 500

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("perennial.collector")


def application(collector: Collector, known: Access) -> web.Application:
    """Return the web application of a collector that was started, for callers that are known."""
    api = _Api(collector)
    app = web.Application(client_max_size=MOST_BYTES, middlewares=[_errors, access.guard(known, RULES, UNGUARDED)])
    app.add_routes(
        [
            web.put("/v1/policy", api.put_policy),
            web.get("/v1/state", api.get_state),
            web.post("/v1/predictions", api.post_predictions),
            web.post("/v1/labels", api.post_labels),
            web.post("/v3/discovery:runtime", collector.weights.poll),
            web.get("/metrics", api.metrics),
            web.get("/healthz", api.health),
            web.get("/readyz", api.health),
        ]
    )

    async def release(_: web.Application) -> None:
        collector.close()

    app.on_shutdown.append(release)
    return app


class _Api:
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def put_policy(self, request: web.Request) -> web.Response:
        try:
            policy = Policy.read(await _body(request))
        except ValueError as error:
            # The names of unknown fields may be of any length, and of several lines.
            raise BadInputError(clip(" ".join(str(error).split()), MOST_TOLD)) from error
        return _json(await self._collector.put_policy(policy))

    async def get_state(self, request: web.Request) -> web.Response:
        after = request.query.get("after")
        state: State = await self._collector.state(after, _wait(request))
        return _json(state)

    async def post_predictions(self, request: web.Request) -> web.Response:
        posted = read_predictions(await _body(request), time())
        await self._collector.predictions.record(
            posted.version, posted.model_version, posted.predictions, posted.reporter
        )
        return web.json_response({"accepted": len(posted.predictions)})

    async def post_labels(self, request: web.Request) -> web.Response:
        return _json(await self._collector.predictions.label(read_labels(await _body(request))))

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=exposition(self._collector), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")


async def _body(request: web.Request) -> bytes:
    """Return a request's body, decoded. Raises PayloadError."""
    return decoded(await request.read(), request.headers.get("Content-Encoding", ""), MOST_BYTES)


def _wait(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= MOST_WAIT_SECONDS:
        raise BadInputError(f"wait: must be a number of seconds from 0 to {MOST_WAIT_SECONDS:g}")
    return wait


def _json(message: Wire) -> web.Response:
    return web.Response(text=message.model_dump_json(), content_type="application/json")


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        status, told, headers = _answer_to(error)
        if status == INTERNAL:
            log.exception("a request was not answered as it should be", extra={"path": request.path})
        return web.json_response({"error": told}, status=status, headers=headers)


def _answer_to(error: Exception) -> tuple[int, str, dict[str, str]]:
    """Return the status that an error is answered with, the sentence, and headers."""
    headers: dict[str, str] = {}
    match error:
        case BadInputError() | PayloadError() | access.AccessError():
            status, told = error.status, str(error)
            if isinstance(error, access.NotProvenError):
                headers = {"WWW-Authenticate": "Bearer"}
        case web.HTTPRequestEntityTooLarge():
            status, told = error.status, f"the body: must have at most {MOST_BYTES:,} bytes"
        case web.HTTPNotFound():
            status, told = error.status, f"the path: must be one of {', '.join(PATHS)}"
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            status, told, headers = error.status, f"the method: must be one of {allowed}", {"Allow": allowed}
        case web.RequestPayloadError() | ConnectionError():
            status, told = 400, "the body: must be sent as its headers say"
        case web.HTTPException():
            status, told = error.status, error.reason
        case DatabaseError():
            # A full or broken disk: nothing was acknowledged, trying again later is right.
            status, told = 503, f"the database refused: {error}"
        case _:
            status, told = INTERNAL, "the collector failed on this request; its log says why"
    return status, told, headers
