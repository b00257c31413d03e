"""The description of ``/api``: ``GET /api/openapi.json`` and ``GET /api/docs``, for admins.

FastAPI makes it from the routes and their response models. Bodies are read by ``body_of``, which
FastAPI cannot inspect, so their forms are added here. A browser opens the page with a session of
the Web UI, because it cannot send a key.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from polyvox.gateway.api.docs_page import docs_page
from polyvox.gateway.api.registry import registry_router
from polyvox.gateway.api.route import ApiRoute, require_admin, require_key
from polyvox.gateway.api.runs import api_router
from polyvox.gateway.web_ui.proxy import wants_page
from polyvox.gateway.web_ui.sign_in import UiSignIn


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI document of the routes below ``/api``."""
    routes = [*api_router().routes, *registry_router().routes]
    document = get_openapi(
        title="Polyvox",
        version=version("polyvox"),
        description=(
            "Runs, flows and virtual models. A user key sees its own runs; everything else needs "
            "an admin key. The models themselves answer at /v1, in the protocols of OpenAI and "
            "Anthropic."
        ),
        routes=routes,
    )
    forms = [form for route in routes if isinstance(route, ApiRoute) for form in route.forms]
    _, schemas = models_json_schema(
        [(form, "validation") for form in forms], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= schemas["$defs"]
    # FastAPI describes each answer that is not JSON as a string, besides by its model.
    for methods in document["paths"].values():
        for operation in methods.values():
            for content in operation["responses"]["200"]["content"].values():
                if "$ref" in content["schema"]:
                    content["schema"].pop("type", None)
    return document


def description_router() -> APIRouter:
    """Return the routes, to be included in the application."""
    router = APIRouter(prefix="/api", route_class=ApiRoute, tags=["about"])

    @router.get("/openapi.json", dependencies=[Depends(require_admin)])
    async def show_description() -> dict[str, Any]:
        """This description, as OpenAPI."""
        return describe()

    @router.get("/docs")
    async def show_page(request: Request) -> Response:
        """This description, as a page."""
        sign_in: UiSignIn = request.app.state.ui_sign_in
        if (refusal := await sign_in.refusal(request)) is not None:
            if wants_page(request):
                return refusal
            await require_admin(request, await require_key(request))
        return docs_page(describe())

    return router
