"""The description of ``/api``: ``GET /api/openapi.json``, for an admin's key.

FastAPI makes it of the routes and their response models. Bodies are read by ``body_of``, which
FastAPI cannot look into, so their forms are added here.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from polyvox.gateway.api.registry import (
    ApplyBody,
    FlowBody,
    ModelEditBody,
    RollbackBody,
    WholeModelBody,
    registry_router,
)
from polyvox.gateway.api.runs import ApiRoute, ApprovalBody, api_router, require_admin

_FORMS = (ApprovalBody, FlowBody, WholeModelBody, ModelEditBody, RollbackBody, ApplyBody)


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI document of the routes below ``/api``."""
    document = get_openapi(
        title="Polyvox",
        version=version("polyvox"),
        description=(
            "Runs, flows and virtual models. A key sees its own runs; all else needs an admin's. "
            "The models themselves answer at /v1, in the protocols of OpenAI and Anthropic."
        ),
        routes=[*api_router().routes, *registry_router().routes],
    )
    _, forms = models_json_schema(
        [(form, "validation") for form in _FORMS], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= forms["$defs"]
    return document


def description_router() -> APIRouter:
    """Return the route, to be included in the application."""
    router = APIRouter(
        prefix="/api", route_class=ApiRoute, dependencies=[Depends(require_admin)], tags=["about"]
    )

    @router.get("/openapi.json")
    async def show_description() -> dict[str, Any]:
        """This description, as OpenAPI."""
        return describe()

    return router
