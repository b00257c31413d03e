"""What the routes of ``/api`` share: keys, bodies, documents and errors.

Needs ``ledger`` (Ledger) and ``protocols`` (Protocols) in the application's state, and ``runtime``
(Runtime) where a body is read. Errors are ``{"error": {"kind", "message"}}``.
"""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ValidationError

from polyvox.activities.storage.storable_json import text_mistake, unstorable
from polyvox.gateway.api.document import Document, Problem, ProblemDocument
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.request_body import read_document
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

Form = TypeVar("Form", bound=BaseModel)

FAILED: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemDocument, "description": "The request failed."}
}


class ApiRoute(APIRoute):
    """A route that returns a Document, the model of its response, and whose failures are
    ProblemDocuments. Describes the body that a ``BodyOf`` reads."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _rendering(endpoint), **options)
        for form in self.forms:
            schema = {"$ref": f"#/components/schemas/{form.__name__}"}
            content = {"application/json": {"schema": schema}}
            self.openapi_extra = {"requestBody": {"required": True, "content": content}}

    @property
    def forms(self) -> list[type[BaseModel]]:
        """The forms of the body that the route reads: one or none."""
        calls = (dependency.call for dependency in self.dependant.dependencies)
        return [call.form for call in calls if isinstance(call, BodyOf)]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_or_error(request: Request) -> Response:
            try:
                _check_address(request)
                return await answer(request)
            except ModelError as error:
                return _error(error)
            except FlowError as error:
                return _error(ModelError("invalid_request", str(error)))
            except RequestValidationError as error:
                return _error(ModelError("invalid_request", _mistakes(error)))

        return answer_or_error


def _rendering(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``endpoint`` with its document written by ``Document.to_json``."""

    @wraps(endpoint)
    async def answer(**values: Any) -> Any:
        if inspect.iscoroutinefunction(endpoint):
            document = await endpoint(**values)
        else:
            document = await run_in_threadpool(endpoint, **values)
        return _response(document) if isinstance(document, Document) else document

    return answer


def _response(document: Document, status: int = 200) -> Response:
    return Response(document.to_json(), status, media_type="application/json")


_BEARER = HTTPBearer(auto_error=False, description="A Polyvox key.")
_HEADER = APIKeyHeader(name="x-api-key", auto_error=False, description="A Polyvox key.")


async def require_key(
    request: Request,
    _bearer: Annotated[object, Security(_BEARER)] = None,
    _header: Annotated[object, Security(_HEADER)] = None,
) -> str:
    """Return the id of the request's key. The parameters are there for the description only."""
    return await key_of(request)


async def require_admin(request: Request, key_id: Annotated[str, Depends(require_key)]) -> str:
    """Return the id of an admin key. Raises ModelError("permission") for a user key."""
    if await request.app.state.ledger.role_of(key_id) != "admin":
        raise ModelError(
            "permission",
            f"Key {key_id} is a user key, and this needs an admin key: the one in the file "
            "admin_key of the data folder, or a new one of "
            "`polyvox keys create NAME --role admin`.",
        )
    return key_id


Admin = Annotated[str, Depends(require_admin)]


class BodyOf(Generic[Form]):
    """The dependency that reads a request's body as ``form``.

    The body is read like those of models: within the limits of size and depth, and after the key
    was checked, which FastAPI's own reading is not.
    """

    def __init__(self, form: type[Form]) -> None:
        self.form = form

    async def __call__(self, request: Request) -> Form:
        document = await read_document(request)
        if wrong := list(unstorable(document)):
            raise ModelError("invalid_request", " ".join(wrong[:5]))
        try:
            return self.form.model_validate(document)
        except ValidationError as error:
            raise ModelError("invalid_request", _mistakes(error)) from None


def _error(error: ModelError) -> Response:
    problem = Problem(kind=error.kind, message=error.message)
    return _response(ProblemDocument(error=problem), error.http_status)


def _check_address(request: Request) -> None:
    """Refuse a path or query that no database can look up."""
    for where, values in (("path", request.path_params), ("query", request.query_params)):
        for name, value in values.items():
            if mistake := text_mistake(f"{name}{value}"):
                raise ModelError("invalid_request", f"The {where}'s {name!r} {mistake}")


def _mistakes(error: RequestValidationError | ValidationError) -> str:
    """Return each wrong parameter, as ``name: what is wrong``."""
    return "; ".join(
        f"{mistake['loc'][-1] if mistake['loc'] else 'the body'}: {mistake['msg']}"
        for mistake in error.errors()
    )
