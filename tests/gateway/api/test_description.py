"""The OpenAPI description of ``/api``: what it says is what the routes do."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.programs.run_events import sse
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
    assert described == served - {("/api/openapi.json", "GET"), ("/api/docs", "GET")}


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
        streamed = "text/event-stream" in operation["responses"]["200"]["content"]
        for document in sse(answer.text.split("\n")) if streamed else [answer.json()]:
            Draft202012Validator(schema).validate(document)
        assert "type" in schema or "$ref" in schema


def test_a_failure_is_as_described(live: Live, description: Description) -> None:
    """By the same document on every route."""
    operation = description["paths"]["/api/runs/{run_id}"]["get"]
    assert "422" not in operation["responses"]
    answer = get(live, "/api/runs/none")
    schema = schema_of(description, operation["responses"]["default"])
    Draft202012Validator(schema).validate(answer.json())


def test_the_page_shows_every_route_and_document(live: Live, description: Description) -> None:
    """To an admin's key as to a browser; it needs no script and loads nothing."""
    page = get(live, "/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    for path, method, _ in operations(description):
        assert f"<code>{method.upper()} {path}</code>" in page.text
    for name in description["components"]["schemas"]:
        assert f'id="{name}"' in page.text
    targets = set(re.findall(r'href="#(\w+)"', page.text))
    assert targets <= set(description["components"]["schemas"])


def test_only_an_admin_s_key_opens_the_page(live: Live) -> None:
    assert get(live, "/api/docs", KEY).status_code == 403
    assert get(live, "/api/docs", "wrong-key").json()["error"]["kind"] == "authentication"


def test_a_browser_signs_in_and_gets_the_page(live: Live) -> None:
    """With the same form and session as the Web UI."""
    headers = {"accept": "text/html"}
    with httpx.Client(base_url=live.base_url, headers=headers, trust_env=False) as browser:
        refused = browser.get("/api/docs")
        assert refused.status_code == 401
        assert 'name="next" value="/api/docs"' in refused.text
        form = {"key": ADMIN_KEY, "next": "/api/docs"}
        signed_in = browser.post("/ui/sign-in", data=form, headers={"origin": live.base_url})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/api/docs")
        page = browser.get("/api/docs")
        assert page.status_code == 200
        assert "<code>GET /api/runs</code>" in page.text
        foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        assert browser.get("/api/docs", headers=foreign).status_code == 403
