"""Draft an answer, have another model criticise it, and stream the final answer.

polyvox register examples/careful.py --model careful \
    --param writer=simulator:main --param critic=simulator:skeptic
"""

from polyvox.workflows import Model, Params, Reply, Run, flow, user

REVIEW = "List what is wrong or missing in your last answer, most important first. Do not rewrite."
REVISE = "Answer my question again, better. A reviewer says of your draft:\n\n{notes}"


class CarefulParams(Params):
    writer: Model
    critic: Model


@flow
async def careful(run: Run[CarefulParams]) -> Reply:
    """Draft, criticise, rewrite."""
    draft = await run.ask(run.params.writer, step="draft")
    if draft.tool_calls:  # the client runs its own tools and asks again with their results
        return draft
    drafted = run.conversation.then(draft.message)
    review = drafted.then(user(REVIEW)).without_tool_use().with_options(format=None)
    notes = await run.ask(run.params.critic, review, step="review")
    revision = drafted.then(user(REVISE.format(notes=notes.text)))
    return await run.ask(run.params.writer, revision, step="final", emit=True)
