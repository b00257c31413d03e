"""Passes a conversation to one model and its answer back."""

from polyvox.workflows import Model, Params, Reply, Run, flow


class DirectParams(Params):
    model: Model


@flow
async def direct(run: Run[DirectParams]) -> Reply:
    """One model answers; the run makes the call durable, visible and counted."""
    return await run.ask(run.params.model, step="main", emit=True)
