"""The page of ``GET /api/docs``: the OpenAPI document of ``/api`` as HTML without scripts."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

from polyvox.gateway.web_ui.pages import page


def docs_page(description: Mapping[str, Any]) -> HTMLResponse:
    """Render the OpenAPI document ``description``."""
    info, forms = description["info"], description["components"]["schemas"]
    parts = [
        f"<p>Version {escape(info['version'])}. {_text(info['description'])}</p>",
        "<p><code>GET /api/openapi.json</code> returns the same as OpenAPI.</p>",
    ]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    parts.append("<h2>Documents</h2>")
    for name, form in sorted(forms.items()):
        parts += [f'<h3 id="{escape(name)}">{escape(name)}</h3>', _paragraph(form)]
        required = form.get("required", ())
        members = form.get("properties", {}).items()
        parts.append(_list(_member(key, value, key in required) for key, value in members))
    return page("\n".join(filter(None, parts)), 200)


def _operation(title: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(title)}</code></h2>"
    yield _paragraph(operation) or f"<p>{escape(operation['summary'])}</p>"
    yield _list(
        _member(each["name"], each["schema"], each["required"], f", in the {each['in']}")
        for each in operation.get("parameters", ())
    )
    if body := operation.get("requestBody"):
        yield f"<p>Body: {_content(body)}</p>"
    yield f"<p>Answer: {_content(operation['responses']['200'])}</p>"


def _content(message: Mapping[str, Any]) -> str:
    (content,) = message["content"].values()
    return _type(content["schema"])


def _member(name: str, schema: Mapping[str, Any], required: bool, place: str = "") -> str:
    default = "" if "default" not in schema else f", default {json.dumps(schema['default'])}"
    optional = "" if required else ", optional"
    return f"<code>{escape(name)}</code>: {_type(schema)}{escape(place + optional + default)}"


def _type(schema: Mapping[str, Any]) -> str:
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(map(_type, choices))
    if values := schema.get("enum"):
        return escape(" or ".join(map(json.dumps, values)))
    if "items" in schema:
        return f"array of {_type(schema['items'])}"
    return escape(schema.get("format") or schema.get("type") or "any JSON")


def _paragraph(described: Mapping[str, Any]) -> str:
    text = described.get("description", "")
    return f"<p>{_text(text)}</p>" if text else ""


def _list(items: Iterator[str]) -> str:
    inner = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{inner}</ul>" if inner else ""


def _text(text: str) -> str:
    return re.sub(r"`+(.+?)`+", r"<code>\1</code>", escape(text))
