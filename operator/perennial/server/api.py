"""The server's HTTP interface. Errors are `{"error": "one sentence"}`: 400 for bad rows, 500 if the model failed."""

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web

from perennial.models.columns import BadRowsError, Signature
from perennial.models.loading import ModelError, Scores
from perennial.payload import PayloadError, decoded
from perennial.server.metrics import Metrics
from perennial.server.protocols import (
    Rows,
    inference_answer,
    invocation_answer,
    read_inference,
    read_invocation,
    tensor_type,
)
from perennial.server.service import NotReadyError, Phase, Service, is_prediction_id
from perennial.terms.names import PREDICTION_ID, RECORDED

MOST_BYTES = 16 * 1024 * 1024
INTERNAL = 500
MODEL = "/v2/models/{model}"
PATHS = ("/invocations", "/metrics", "/ping", "/v2", "/v2/health/live", "/v2/health/ready", MODEL, f"{MODEL}/infer")
"""What may be asked, as an answer to another path lists it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("perennial.server")


def application(service: Service) -> web.Application:
    """Return the web application of a service."""
    api = _Api(service)
    app = web.Application(client_max_size=MOST_BYTES, middlewares=[api.errors])
    app.add_routes(
        [
            web.post("/invocations", api.invoke),
            web.get("/ping", api.ready),
            web.get("/v2", api.about_server),
            web.get("/v2/health/live", api.live),
            web.get("/v2/health/ready", api.ready),
            web.get("/metrics", api.metrics),
        ]
    )
    for path in (MODEL, f"{MODEL}/versions/{{version}}"):
        app.add_routes(
            [
                web.post(path + "/infer", api.infer),
                web.get(path, api.about_model),
                web.get(path + "/ready", api.ready),
            ]
        )
    return app


async def _body(request: web.Request) -> bytes:
    """Return a request's body, decoded. Raises PayloadError."""
    return decoded(await request.read(), request.headers.get("Content-Encoding", ""), MOST_BYTES)


class _UnknownModelError(Exception):
    """The path names another model than the one that is served."""

    status = 404


class _Api:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._metrics = Metrics(service)
        self._failed = False

    async def invoke(self, request: web.Request) -> web.Response:
        rows = read_invocation(await _body(request), self._signature())
        name, scores, recorded = await self._predict(request, rows, "invocations")
        return self._answer(invocation_answer(scores), name, recorded)

    async def infer(self, request: web.Request) -> web.Response:
        self._check_name(request)
        rows = read_inference(await _body(request), self._signature())
        name, scores, recorded = await self._predict(request, rows, "oip")
        identity = self._service.identity
        body = inference_answer(scores, identity.model, identity.model_version, name)
        return self._answer(body, name, recorded)

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(self, request: web.Request) -> web.Response:
        if "model" in request.match_info:
            self._check_name(request)
        ready = self._service.phase is Phase.READY
        return web.json_response({"ready": ready, "phase": self._service.phase.value}, status=200 if ready else 503)

    async def about_server(self, _: web.Request) -> web.Response:
        return web.json_response({"name": "perennial", "version": "v1alpha1", "extensions": []})

    async def about_model(self, request: web.Request) -> web.Response:
        self._check_name(request)
        signature = self._signature()
        inputs = [] if signature is None else signature.columns
        return web.json_response(
            {
                "name": self._service.identity.model,
                "versions": [self._service.identity.model_version],
                "platform": "mlflow_pyfunc",
                "inputs": [{"name": c.name, "datatype": tensor_type(c.type), "shape": [-1]} for c in inputs],
                "outputs": [{"name": "score", "datatype": "FP64", "shape": [-1]}],
            }
        )

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    @web.middleware
    async def errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn what went wrong into a status and one sentence."""
        try:
            response = await handler(request)
        except Exception as error:
            status, told, headers = self._answer_to(error)
            if status == INTERNAL and not isinstance(error, ModelError):
                log.exception("a request was not answered as it should be", extra={"path": request.path})
            response = web.json_response({"error": told}, status=status, headers=headers)
        if request.method == "POST":
            self._metrics.answered(response.status)
            if is_prediction_id(request.headers.get(PREDICTION_ID, "")):
                response.headers.setdefault(PREDICTION_ID, request.headers[PREDICTION_ID])
        if self._service.phase is Phase.DRAINING:
            response.force_close()
        return response

    def _answer_to(self, error: Exception) -> tuple[int, str, dict[str, str]]:
        """Return the status that an error is answered with, the sentence, and headers."""
        headers: dict[str, str] = {}
        match error:
            case BadRowsError() | PayloadError() | NotReadyError() | _UnknownModelError():
                status, told = error.status, str(error)
            case ModelError():
                # The first failure with its trace; the thousand that may follow with a line each.
                log.error("prediction failed", extra={"error": str(error)}, exc_info=None if self._failed else error)
                self._failed = True
                status, told = INTERNAL, str(error)
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
            case _:
                status, told = INTERNAL, "the server failed on this request; its log says why"
        return status, told, headers

    async def _predict(self, request: web.Request, rows: Rows, protocol: str) -> tuple[str, Scores, int]:
        begun = perf_counter()
        result = await self._service.predict(rows, request.headers.get(PREDICTION_ID))
        self._metrics.predicted(protocol, perf_counter() - begun)
        return result

    def _answer(self, body: dict[str, object], name: str, recorded: int) -> web.Response:
        return web.json_response(body, headers={PREDICTION_ID: name, RECORDED: str(recorded)})

    def _signature(self) -> Signature | None:
        return None if self._service.model is None else self._service.model.signature

    def _check_name(self, request: web.Request) -> None:
        identity, wanted = self._service.identity, request.match_info
        if wanted["model"] != identity.model or wanted.get("version", identity.model_version) != identity.model_version:
            known = f"model {identity.model}, version {identity.model_version}"
            raise _UnknownModelError(f"this server has {known}")
