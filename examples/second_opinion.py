"""Ask two models in parallel; the first one then answers with both opinions.

polyvox register examples/second_opinion.py --model second-opinion \
    --param first=simulator:engineer --param second=simulator:skeptic
"""

from pydantic import Field

from polyvox.workflows import Branch, Model, Params, Reply, Run, flow

COMPARE = (
    "You and a colleague have already thought about the user's newest message, independently. "
    "Answer it now. Where the two opinions below differ, say so and decide.\n\n"
)


class SecondOpinionParams(Params):
    first: Model = Field(description="gives one opinion and writes the answer")
    second: Model = Field(description="gives the other opinion")
    grace_s: float = Field(20.0, ge=0, description="seconds the slower one gets after the faster")


@flow
async def second_opinion(run: Run[SecondOpinionParams]) -> Reply:
    """Two opinions in parallel, one answer, also if one opinion is missing."""
    params, conversation = run.params, run.conversation
    if conversation.opens_turn:
        asked = conversation.without_tool_use().with_options(format=None)
        panel = await run.panel(
            [Branch("first", params.first, asked), Branch("second", params.second, asked)],
            quorum=1,
            grace_s=params.grace_s,
        )
        opinions = "\n\n".join(
            f'<opinion of="{branch.step}">\n{reply.text}\n</opinion>'
            for branch, reply in panel.answers
        )
        if opinions:
            conversation = conversation.instructed(COMPARE + opinions)
    return await run.ask(params.first, conversation, step="answer", emit=True)
