"""A panel of models answers, a judge compares the answers, the main model writes the reply."""

import json
from typing import Literal

from pydantic import Field

from polyvox.workflows import (
    Branch,
    Conversation,
    Message,
    Model,
    ModelError,
    MountedTool,
    Panel,
    Params,
    Reply,
    Run,
    Text,
    Tool,
    ToolCall,
    assistant,
    flow,
    tool_result,
    user,
)

TOOL_DESCRIPTION = (
    "Puts a problem before a panel of independent expert models and returns a report of what they "
    "agree on, where they contradict each other, what only some of them cover, what only one of "
    "them saw, and what all of them missed. Use it once, before you answer, for any question "
    "whose answer is not obvious: design decisions, debugging, plans, trade-offs, facts that "
    "matter. Do not use it for greetings or simple edits. State the problem completely: the panel "
    "sees the conversation, but not your thoughts about it."
)

BRANCH_PROMPT = (
    "You are one of several independent experts who are given the same problem. Answer it as well "
    "and as concretely as you can on your own. Say what you are sure of and what you assume. Do "
    "not call tools and do not ask questions back."
)

JUDGE_PROMPT = (
    "You compare the answers that independent experts gave to one problem. You do not answer the "
    "problem yourself. Report under exactly these headings, in this order, each with short points "
    "that name the answers they come from:\n"
    "## Consensus\nwhat all or nearly all answers say\n"
    "## Contradictions\nwhere answers exclude each other, and which side has the better reasons\n"
    "## Partial coverage\nwhat matters and only some answers treat\n"
    "## Unique insights\nwhat only one answer saw and is worth keeping\n"
    "## Blind spots\nwhat matters and no answer treats"
)


class FusionParams(Params):
    main: Model = Field(description="writes the answer and may call the panel")
    panel: tuple[Model, ...] = Field(min_length=1, max_length=8, description="answer in parallel")
    judge: Model = Field(description="compares the panel's answers")
    mode: Literal["auto", "required", "off"] = Field(
        "auto", description="auto: main decides; required: once every user turn; off: never"
    )
    quorum: int = Field(1, ge=1, description="answers to wait for before the grace time starts")
    grace_s: float = Field(30.0, ge=0, description="seconds the rest gets after the quorum")
    timeout_s: float = Field(300.0, gt=0, description="seconds for one branch or the judge")
    tool_name: str = Field(
        "problem_review", pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="the panel, as main sees it"
    )
    tool_description: str = Field(TOOL_DESCRIPTION, description="tells main when to call it")
    branch_prompt: str = Field(BRANCH_PROMPT, description="added to each branch's instructions")
    judge_prompt: str = Field(JUDGE_PROMPT, description="the judge's instructions")


@flow
async def fusion(run: Run[FusionParams]) -> Reply:
    """A panel answers in parallel, a judge reports, the main model writes the answer live."""
    params, conversation = run.params, run.conversation
    if params.mode == "off":
        return await run.ask(params.main, step="main", emit=True)

    async def review(call: ToolCall) -> str:
        return await report(run, problem_of(call) or conversation.last_user_text)

    mounted = MountedTool(
        Tool(
            params.tool_name,
            params.tool_description,
            {
                "type": "object",
                "properties": {
                    "problem": {
                        "type": "string",
                        "description": "The complete problem, with all constraints.",
                    }
                },
                "required": ["problem"],
                "additionalProperties": False,
            },
        ),
        review,
    )
    if params.mode == "auto":
        return await run.converse(params.main, conversation, tools=[mounted], step="main")
    # Required: the main model finds its call and the report in its history.
    said = await reviewed_first(run, mounted) if conversation.opens_turn else ()
    done = MountedTool(mounted.tool, already_reported)
    return await run.converse(params.main, conversation, tools=[done], prepared=said, step="main")


async def reviewed_first(run: Run[FusionParams], mounted: MountedTool) -> tuple[Message, ...]:
    """Ask the panel before the main model is asked, as if that had called it."""
    problem = run.conversation.last_user_text
    call = ToolCall(
        f"call_{run.random().getrandbits(64):016x}",
        run.params.tool_name,
        json.dumps({"problem": problem}, ensure_ascii=False),
    )
    return assistant(call), tool_result(call, await mounted.answer(call))


async def already_reported(_call: ToolCall) -> str:
    return "The panel has reported on this turn already; its report is above."


def problem_of(call: ToolCall) -> str:
    """The problem as the main model put it; empty if its arguments are no such JSON."""
    try:
        problem = json.loads(call.arguments).get("problem")
    except (ValueError, AttributeError):
        return ""
    return problem if isinstance(problem, str) else ""


async def report(run: Run[FusionParams], problem: str) -> str:
    """Ask the panel, then the judge; what is returned always helps the main model to go on."""
    params = run.params
    asked = run.conversation.then(user(problem)).instructed(params.branch_prompt)
    asked = asked.without_tool_use().with_options(format=None)
    branches = [
        Branch(f"branch {number}", model, asked)
        for number, model in enumerate(params.panel, start=1)
    ]
    panel = await run.panel(
        branches,
        quorum=min(params.quorum, len(branches)),
        grace_s=params.grace_s,
        timeout_s=params.timeout_s,
    )
    answers = [(branch, reply.text.strip()) for branch, reply in panel.answers]
    answers = [(branch, text) for branch, text in answers if text]
    if not answers:
        return f"No expert answered; go on alone. {failures_of(panel)}"
    if len(answers) == 1:
        return f"Only one expert answered:\n\n{answers[0][1]}\n\n{failures_of(panel)}".strip()
    try:
        synthesis = await run.ask(
            params.judge,
            judged(params.judge_prompt, problem, [text for _, text in answers]),
            step="synthesis",
            timeout_s=params.timeout_s,
        )
    except ModelError as error:
        run.note("synthesis failed", kind=error.kind, message=error.message)
        listed = "\n\n".join(labelled([text for _, text in answers]))
        return f"The judge failed ({error.message}). The experts' answers:\n\n{listed}"
    return f"{synthesis.text.strip()}\n\n{failures_of(panel)}".strip()


def judged(prompt: str, problem: str, answers: list[str]) -> Conversation:
    """The judge's conversation: it sees letters instead of model names."""
    told = "\n\n".join([f"<problem>\n{problem}\n</problem>", *labelled(answers)])
    return Conversation((user(told),), system=Message("system", (Text(prompt),)))


def labelled(answers: list[str]) -> list[str]:
    return [
        f'<answer id="{letter}">\n{answer}\n</answer>'
        for letter, answer in zip("ABCDEFGH", answers, strict=False)
    ]


def failures_of(panel: Panel) -> str:
    """One sentence on who did not answer and why, for the main model; empty if all did."""
    if not panel.failures:
        return ""
    listed = "; ".join(f"{branch.step}: {error.message}" for branch, error in panel.failures)
    return f"({len(panel.failures)} of the experts did not answer: {listed})"
