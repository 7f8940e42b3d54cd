"""The ASGI application: routes, the limit by address, and refusals as JSON."""

import math
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Routed
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.config import Serve
from cluster.home import Home
from cluster.home_door import HomeDoor
from cluster.serve.asked import address_of, service_of
from cluster.serve.errors import NETWORK_ERRORS, HttpRefused, Problem, problem_of, status_of
from cluster.serve.openapi import openapi_document
from cluster.serve.routes import JSON, PROBES, ROUTES, answer
from cluster.serve.service import Service
from cluster.serve.wire import encode_json


def make_app(door: HomeDoor, settings: Serve, home: Home) -> Starlette:
    """The application that serves a home; `app.state.service` is to be closed when it is no longer served.

    Raises:
        ClusterError: the home holds no network, or another server serves it.
    """
    service = Service(door, settings, home)
    app = Starlette(
        routes=[
            *(Routed(route.path, route.handler, methods=[route.method]) for route in ROUTES),
            Routed("/openapi.json", get_openapi, methods=["GET"]),
        ],
        middleware=[Middleware(AddressLimit, service=service)],
        exception_handlers={
            **dict.fromkeys(NETWORK_ERRORS, refuse),
            HTTPException: refuse_address,
            Exception: fail,
        },
    )
    app.state.service = service
    return app


class AddressLimit:
    """Middleware: how often an address may ask, but for probes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            wait_s = self._service.requests.take(address_of(Request(scope)), 1, time.monotonic())
            if wait_s:
                most = self._service.settings.requests_per_minute
                refused = HttpRefused("rate_limited", f"an address asks {most} times a minute here", wait_s)
                return await _refusal(refused)(scope, receive, send)
        await self._app(scope, receive, send)
        return None


async def get_openapi(request: Request) -> Response:
    """The document of all addresses."""
    return answer(openapi_document(service_of(request).reader.genesis.network))


async def refuse(request: Request, error: Exception) -> Response:
    """A refusal as JSON."""
    return _refusal(error, service_of(request).uploads.home)


async def refuse_address(request: Request, error: Exception) -> Response:
    """What the router refuses, as JSON."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return _refusal(HttpRefused("wrong_method", f"{request.url.path} takes no {request.method}"))
    return _refusal(HttpRefused("not_found", f"there is nothing at {request.url.path}"))


async def fail(request: Request, error: Exception) -> Response:
    """A fault of the server's own: the client learns that it is one, the log what it is."""
    return _refusal(HttpRefused("server_error", "the server failed at this request"))


def _refusal(error: Exception, *private: Path) -> Response:
    problem: Problem = problem_of(error, *private)
    headers = {}
    if isinstance(error, HttpRefused) and error.wait_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.wait_s)))
    return Response(encode_json(problem), status_of(error), headers, media_type=JSON)
