"""The OpenAPI description of ``/api``: what it says is what the routes do."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.programs.running import ADMIN_KEY, KEY, Live

Description = dict[str, Any]


def get(live: Live, path: str, key: str = ADMIN_KEY) -> httpx.Response:
    return httpx.get(live.base_url + path, headers={"x-api-key": key}, trust_env=False)


@pytest.fixture
def description(live: Live) -> Description:
    found: Description = get(live, "/api/openapi.json").json()
    return found


def operations(description: Description) -> Iterator[tuple[str, str, Any]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schema_of(description: Description, response: Any) -> Any:
    """Return the schema of a response with the schemas that it refers to."""
    (content,) = response["content"].values()
    return {**content["schema"], "components": description["components"]}


def test_only_an_admin_reads_the_description(live: Live) -> None:
    """Like most of what it tells of."""
    assert get(live, "/api/openapi.json", KEY).status_code == 403
    assert get(live, "/api/openapi.json", "wrong-key").status_code == 401


def test_every_route_of_the_api_is_described(live: Live, description: Description) -> None:
    """And none that is not there; a path's parameter may hold slashes."""
    described = {(path, method.upper()) for path, method, _ in operations(description)}
    served = {
        (route.path.replace(":path}", "}"), method)
        for mounted in live.program.app.routes
        for route in getattr(getattr(mounted, "original_router", None), "routes", [mounted])
        for method in getattr(route, "methods", None) or ()
        if getattr(route, "path", "").startswith("/api/") and method != "HEAD"
    }
    assert described == served - {("/api/openapi.json", "GET")}


def test_every_body_that_is_sent_is_described(description: Description) -> None:
    """Each as a form, whose schema is part of the description."""
    for path, method, operation in operations(description):
        if method in ("post", "put", "patch"):
            (content,) = operation["requestBody"]["content"].values()
            name = content["schema"]["$ref"].rpartition("/")[2]
            form = description["components"]["schemas"][name]
            assert form["additionalProperties"] is False, (path, method)


def test_what_the_routes_answer_is_as_described(live: Live, description: Description) -> None:
    """With one of everything in place of a path's parameters."""
    client = {"model": "panel-required", "messages": [{"role": "user", "content": "hello"}]}
    run_id = live.post("chat", client).headers["x-polyvox-run"]
    live.ended(run_id, calls=5)
    for path, method, operation in operations(description):
        if method != "get":
            continue
        name = "direct" if path.startswith("/api/flows") else "plain-chat"
        address = path.replace("{run_id}", run_id).replace("{name}", name)
        if path == "/api/flows/{name}/diff":
            address += "?other=fusion"
        answer = get(live, address)
        assert answer.status_code == 200, (address, answer.text)
        schema = schema_of(description, operation["responses"]["200"])
        Draft202012Validator(schema).validate(answer.json())
        assert "type" in schema or "$ref" in schema


def test_a_failure_is_as_described(live: Live, description: Description) -> None:
    """By the same document on every route."""
    operation = description["paths"]["/api/runs/{run_id}"]["get"]
    assert "422" not in operation["responses"]
    answer = get(live, "/api/runs/none")
    schema = schema_of(description, operation["responses"]["default"])
    Draft202012Validator(schema).validate(answer.json())
