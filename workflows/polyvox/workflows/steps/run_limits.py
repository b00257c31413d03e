"""The limits of one run, checked before each model call."""

from polyvox.workflows.boundary.calls import Limits
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost


def refuse_beyond_limits(limits: Limits, step: str, *, calls: int, cost: Cost) -> None:
    """Raise ModelError("flow_error") if a run with ``calls`` and ``cost`` may not ask again."""
    if calls >= limits.calls:
        raise ModelError(
            "flow_error",
            f"Step {step!r} would be call {limits.calls + 1} of the run, and its limit is "
            f"calls = {limits.calls}. If the flow does not loop, raise the limit: "
            "[models.NAME.limits] calls.",
        )
    if limits.cost_usd is None:
        return
    if cost.unknown:
        raise ModelError(
            "flow_error",
            f"Step {step!r} is not asked: the run has the limit cost_usd = {limits.cost_usd:g}, "
            "and a provider did not report the tokens of an earlier call, so the remaining budget "
            "is unknown.",
        )
    if cost.usd >= limits.cost_usd:
        raise ModelError(
            "flow_error",
            f"Step {step!r} is not asked: the run has cost ${cost.usd:.4f}, and its limit "
            f"is cost_usd = {limits.cost_usd:g}. Raise the limit: [models.NAME.limits] cost_usd.",
        )
