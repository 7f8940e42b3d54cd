"""The OpenAPI document of the server, made from its routes and from the structs that they carry."""

import inspect
import re
from typing import Any

from cluster.serve.errors import HTTP_REFUSALS, Problem
from cluster.serve.routes import ARROW, ROUTES, Route
from cluster.serve.signing import BODY, KEY, NONCE, SIGNATURE, TIME
from cluster.serve.wire import schemas
from cluster.version import VERSION

_SIGNED = {
    KEY: "the signer's address",
    TIME: "Unix time in milliseconds, a minute from the server's at most",
    NONCE: "16 bytes in hexadecimal, never twice",
    BODY: "BLAKE2b-256 of the body, in hexadecimal",
    SIGNATURE: "Ed25519 signature of the request, in hexadecimal",
}
_REFUSED = {
    "description": "Refused: " + " ".join(f"`{code}` ({status})" for code, (status, _) in HTTP_REFUSALS.items()),
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def openapi_document(network: str) -> dict[str, Any]:
    """OpenAPI 3.1 of a network's server."""
    kinds = [kind for route in ROUTES for kind in (route.answers, route.takes) if kind not in (None, bytes)]
    found, components = schemas([*kinds, Problem])
    by_kind = {repr(kind): schema for kind, schema in zip([*kinds, Problem], found, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"taoray network {network}", "version": VERSION},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, by_kind: dict[str, Any]) -> dict[str, Any]:
    content = {media: {"schema": _schema(media, by_kind[repr(route.answers)])} for media in route.media}
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": inspect.cleandoc(route.handler.__doc__ or "").replace("\n", " "),
        "parameters": _parameters(route),
        "responses": {
            str(route.status): {"description": "Done.", "content": content},
            **({str(route.also): {"description": "Not so.", "content": content}} if route.also else {}),
            "default": _REFUSED,
        },
    }
    if route.takes is not None:
        schema = {"type": "string", "format": "binary"} if route.takes is bytes else by_kind[repr(route.takes)]
        operation["requestBody"] = {"required": True, "content": {route.takes_media: {"schema": schema}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string"}
    return [
        *({"name": n, "in": "path", "required": True, "schema": text} for n in re.findall(r"{(\w+)}", route.path)),
        *(
            {"name": name, "in": "query", "description": meaning, "schema": {"type": "integer", "minimum": 0}}
            for name, meaning in route.query
        ),
        *(
            {"name": name, "in": "header", "required": True, "description": meaning, "schema": text}
            for name, meaning in (_SIGNED if route.signed else {}).items()
        ),
    ]


def _schema(media: str, schema: Any) -> Any:
    return {"type": "string", "format": "binary"} if media == ARROW else schema
