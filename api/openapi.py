"""The description of the API (OpenAPI 3.1), made from the table of routes and their types."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from .. import __version__
from .errors import ErrorBody
from .inputs import Operation
from .router import Parameter, Route

_SCHEMAS: Final = "#/components/schemas/{name}"
_REST: Final = re.compile(r"\{(\w+)\.\.\.\}")
_PART: Final = re.compile(r"\{(\w+)(?:\.\.\.)?\}")
_GROUPS: Final = {
    "services": "Services",
    "heartbeats": "Services",
    "batch": "Services",
    "watch": "Services",
    "kv": "Key-value store",
    "cluster": "Cluster",
}
"""By the first word of the path; everything else is about the node."""
_PART_EXAMPLES: Final = {"service": "web", "id": "web-1", "key": "app/colour", "name": "node-b"}
_HEADERS: Final = {
    "X-Callboard-Index": {
        "description": "The engine's revision that the answer reflects.",
        "schema": {"type": "integer"},
    },
    "X-Callboard-Staleness-Ms": {
        "description": "How long ago the engine was last heard from.",
        "schema": {"type": "integer"},
    },
}


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description, ready to be encoded."""
    schemas = _Schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _REST.sub(r"{\1}", route.template)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "callboard",
            "version": __version__,
            "description": "Services sign in here, keep their place by renewing it, and are found"
            " over HTTP and DNS.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(map(_group, routes))],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                "Error": {
                    "description": "Refused; `code` says why, `field` what in the request.",
                    "headers": _HEADERS,
                    "content": {"application/json": {"schema": schemas.of(ErrorBody)}},
                }
            },
        },
    }


class _Schemas:
    """JSON Schema of every type that the routes name."""

    def __init__(self, routes: Sequence[Route]) -> None:
        types = [kind for route in routes for kind in (route.body, route.answer) if kind]
        self._types = [ErrorBody, Operation, *(kind for kind in types if kind is not bytes)]
        self._schemas, self.components = msgspec.json.schema_components(
            self._types, ref_template=_SCHEMAS
        )
        # The batch reads its operations one by one, so their type does not stand in its own.
        self.components["BatchBody"]["properties"]["operations"]["items"] = self.of(Operation)
        for component in self.components.values():
            if "description" in component:
                component["description"] = " ".join(component["description"].split())

    def of(self, kind: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(kind)]


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    words = re.sub(r"\W+", "_", f"{route.method.lower()}{route.template.removeprefix('/v1')}")
    operation: dict[str, Any] = {
        "operationId": words.strip("_"),
        "summary": route.summary,
        "tags": [_group(route)],
        "parameters": [*_path_parameters(route), *map(_query_parameter, route.parameters)],
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        operation["requestBody"] = {"content": _body(route, schemas)}
    return operation


def _group(route: Route) -> str:
    words = route.template.split("/")
    return _GROUPS.get(words[2] if len(words) > 2 else "", "Node")


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _PART.findall(route.template):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": _PART_EXAMPLES[name],
        }


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _body(route: Route, schemas: _Schemas) -> dict[str, Any]:
    if route.body is bytes:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    content = {"schema": schemas.of(route.body)}
    if route.example is not None:
        content["example"] = route.example
    return {"application/json": content}


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in route.statuses:
        if status >= 400:
            responses[str(status)] = {"$ref": "#/components/responses/Error"}
            continue
        made: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": _HEADERS}
        if status != HTTPStatus.NO_CONTENT:
            schema = schemas.of(route.answer) if route.answer else {"type": "string"}
            made["content"] = {route.media_type: {"schema": schema}}
        responses[str(status)] = made
    responses["default"] = {"$ref": "#/components/responses/Error"}
    return responses
