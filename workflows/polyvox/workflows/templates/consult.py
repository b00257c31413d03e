"""A cheap model answers, and asks a strong model for advice when it is not sure."""

import json

from pydantic import Field

from polyvox.workflows import (
    Model,
    MountedTool,
    Params,
    Reply,
    Run,
    Tool,
    ToolCall,
    flow,
    transcribed,
    user,
)
from polyvox.workflows.conversation import Conversation, Message, Text

TOOL_DESCRIPTION = (
    "Asks a more capable model for advice and returns its answer. Use it before you decide "
    "something that is hard to undo, when you are stuck, or when you are not sure; not for what "
    "you can do yourself. It sees the conversation so far and cannot use tools. Ask one precise "
    "question and say what you think yourself."
)

EXPERT_PROMPT = (
    "A less capable model works on the conversation below and asks you for advice. Answer its "
    "question directly and concretely, so that it can go on. If it is on a wrong way, say so first."
)


class ConsultParams(Params):
    worker: Model = Field(description="answers the client and may ask the expert")
    expert: Model = Field(description="gives advice to the worker")
    most: int = Field(
        3, ge=1, le=50, description="limit of questions to the expert in one user turn"
    )
    timeout_s: float = Field(300.0, gt=0, description="seconds for one answer of the expert")
    tool_name: str = Field(
        "ask_expert",
        pattern=r"^[a-zA-Z0-9_-]{1,64}$",
        description="name of the expert's tool",
    )
    tool_description: str = Field(TOOL_DESCRIPTION, description="tells the worker when to ask")
    expert_prompt: str = Field(EXPERT_PROMPT, description="the expert's instructions")


@flow
async def consult(run: Run[ConsultParams]) -> Reply:
    """A cheap model answers and may ask a strong one with a tool hidden from the client."""
    params = run.params

    async def ask_expert(call: ToolCall) -> str:
        asked = int(await run.recall("questions") or 0)
        if asked >= params.most:
            return "The expert was asked often enough in this turn. Decide yourself now."
        await run.remember("questions", asked + 1)
        told = f"{transcribed(run.conversation)}\n\n<question>\n{question_of(call)}\n</question>"
        reply = await run.ask(
            params.expert,
            Conversation((user(told),), system=Message("system", (Text(params.expert_prompt),))),
            step="expert",
            timeout_s=params.timeout_s,
        )
        return reply.text.strip() or "The expert said nothing."

    tool = Tool(
        params.tool_name,
        params.tool_description,
        {
            "type": "object",
            "properties": {
                "question": {"type": "string", "description": "One question, with what it needs."}
            },
            "required": ["question"],
            "additionalProperties": False,
        },
    )
    return await run.converse(
        params.worker,
        run.conversation,
        tools=[MountedTool(tool, ask_expert)],
        rounds=params.most,
        step="worker",
    )


def question_of(call: ToolCall) -> str:
    """Return the worker's question, or the whole arguments if they do not contain one."""
    try:
        question = json.loads(call.arguments).get("question")
    except (ValueError, AttributeError):
        question = None
    return question if isinstance(question, str) else call.arguments
