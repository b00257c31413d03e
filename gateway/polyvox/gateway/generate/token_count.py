"""Counts a request's input tokens: at its provider, else by an estimate."""

from starlette.requests import Request
from starlette.responses import Response

from polyvox.activities.registry.registry import DIRECT
from polyvox.gateway.http.admission import share_of
from polyvox.gateway.http.errors import JsonResponse
from polyvox.protocols.client_side import Ask
from polyvox.protocols.header_text import header_list
from polyvox.protocols.wire_protocol import TokenCount
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json


async def count_tokens(
    request: Request, ask: Ask, key_id: str, counted_by: TokenCount, **members: Json
) -> Response:
    """Return ``members`` and the count; ``x-polyvox-estimate`` marks an estimate.

    Members that the provider's route refuses are named in ``x-polyvox-losses``. A flow that may
    ask several models has no provider's count. ``key_id`` is the client's key. Raises
    ModelError("model_not_found"), and ModelError("invalid_request") for a credential that is
    encrypted for another key.
    """
    runtime: Runtime = request.app.state.runtime
    model = runtime.registry.resolve(ask.model, runtime.providers)
    counted = None
    if model.flow.partition("@")[0] == DIRECT:
        counted = await runtime.counter.count(str(model.params["model"]), ask, key_id)
    if counted is not None:
        losses = {"x-polyvox-losses": header_list(counted.losses)} if counted.losses else {}
        return JsonResponse({**members, **counted.document}, headers=losses)
    count = await share_of(request).work(lambda: counted_by.estimate(ask))
    return JsonResponse({**members, "input_tokens": count}, headers={"x-polyvox-estimate": "true"})
