"""A panel of models answers, a judge compares the answers, the main model writes the reply."""

import asyncio
import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from polyvox.workflows import (
    Branch,
    Comparison,
    Conversation,
    Message,
    Model,
    ModelError,
    MountedTool,
    Panel,
    Params,
    Reply,
    Run,
    Tool,
    ToolCall,
    ToolChoice,
    assistant,
    flow,
    points_by_heading,
    schema_complaints,
    tool_result,
    user,
)
from polyvox.workflows.errors import most_actionable
from polyvox.workflows.turn_rules import TurnRule

Mode = Literal["auto", "required", "off"]
MODES: dict[str, Mode] = {"auto": "auto", "required": "required", "off": "off"}

MOST_VOICES = 8
CHARACTERS_PER_TOKEN = 4
ANSWER_TOKENS = 1500
"""Output tokens assumed for an answer of the panel or the judge when estimating costs."""

REPORT = "panel's report"

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


class Voice(Params):
    """A model of the panel, optionally with a persona and several samples."""

    model: Model = Field(description="answers")
    persona: str = Field("", description="added to this branch's instructions")
    samples: int = Field(1, ge=1, le=8, description="how many times it is asked")


class Intercept(TurnRule):
    """A decision about the panel before main is asked."""

    panel: Literal["skip", "force"] = Field(
        description="skip: main answers alone; force: the panel is asked first"
    )


class FusionParams(Params):
    main: Model = Field(description="writes the answer and may call the panel")
    panel: tuple[Model | Voice, ...] = Field(
        min_length=1, max_length=8, description="answer in parallel, at most 8 voices in total"
    )
    judge: Model = Field(description="compares the panel's answers")
    mode: Mode = Field(
        "auto", description="auto: main decides; required: once per user turn; off: never"
    )
    quorum: int = Field(1, ge=1, description="answers to wait for before the grace time starts")
    grace_s: float = Field(30.0, ge=0, description="seconds the others have after the quorum")
    timeout_s: float = Field(300.0, gt=0, description="seconds for one branch or the judge")
    max_calls: int | None = Field(
        None, ge=1, description="limit of a run's calls; a panel that exceeds it is skipped"
    )
    max_tokens: int | None = Field(
        None, ge=1, description="limit of a panel's estimated input tokens; else it is skipped"
    )
    max_cost_usd: float | None = Field(
        None,
        gt=0,
        description="limit of a panel's estimated cost in US dollars; else it is skipped",
    )
    intercept: tuple[Intercept, ...] = Field(
        (), description="the first rule that holds skips or forces the panel"
    )
    progress: bool = Field(False, description="show the client what the panel does, as reasoning")
    tool_name: str = Field(
        "problem_review", pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="name of the panel's tool"
    )
    tool_description: str = Field(TOOL_DESCRIPTION, description="tells main when to call it")
    tool_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of what main passes to the panel; default: one text"
    )
    branch_prompt: str = Field(BRANCH_PROMPT, description="added to each branch's instructions")
    judge_prompt: str = Field(JUDGE_PROMPT, description="the judge's instructions")

    @field_validator("intercept", mode="before")
    @classmethod
    def _as_list(cls, rules: Any) -> Any:
        return [rules] if isinstance(rules, dict) else rules

    @field_validator("tool_schema")
    @classmethod
    def _is_usable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        if schema.get("type") != "object" or not schema.get("properties"):
            raise ValueError('the schema must have "type": "object" and properties')
        try:
            schema_complaints("{}", schema, "it")
        except ModelError as error:
            raise ValueError(error.message) from None
        return schema

    @model_validator(mode="after")
    def _not_too_many(self) -> "FusionParams":
        if len(self.voices) > MOST_VOICES:
            raise ValueError(f"the panel has {len(self.voices)} voices, at most {MOST_VOICES}")
        return self

    @property
    def voices(self) -> list[Voice]:
        """All voices of the panel, one for each sample."""
        named = [v if isinstance(v, Voice) else Voice(model=v) for v in self.panel]
        return [voice for voice in named for _ in range(voice.samples)]


@flow
async def fusion(run: Run[FusionParams]) -> Reply:
    """A panel answers in parallel, a judge reports, the main model writes the answer live."""
    params, conversation = run.params, run.conversation
    mode = mode_of(run)
    if mode == "off":
        return await run.ask(params.main, step="main", emit=True)
    rule = intercepting(run)
    remembering: list[asyncio.Task[None]] = []
    failures: list[ModelError] = []
    mounted = reviewing(run, remembering, failures)
    if rule is not None:
        mode = "required"
        run.note("intercepted", panel=rule.panel, rule=rule.name)
    if rule is not None and rule.panel == "skip":
        # Earlier turns may have calls of the tool, so it is known, but not offered.
        return await run.converse(params.main, conversation, tools=[mounted], rounds=0, step="main")
    said: tuple[Message, ...] = ()
    if mode == "required":
        # The main model finds its call and the report in its history.
        said = await reviewed_first(run, mounted, failures) if conversation.opens_turn else ()
        mounted = MountedTool(mounted.tool, already_reported)
    try:
        reply = await run.converse(
            params.main, conversation, tools=[mounted], prepared=said, step="main"
        )
    except ModelError as error:
        if error.kind == "flow_error":
            raise
        raise most_actionable([error, *failures]) from None
    await asyncio.gather(*remembering)
    return reply


def mode_of(run: Run[FusionParams]) -> Mode:
    """Return the request's mode (header ``x-polyvox-mode``), else the model's."""
    wanted = run.headers.get("x-polyvox-mode")
    if wanted is None:
        return run.params.mode
    if wanted not in MODES:
        raise ModelError(
            "invalid_request",
            f"The header x-polyvox-mode is {wanted!r}; it may be {', '.join(MODES)}.",
            param="x-polyvox-mode",
        )
    return MODES[wanted]


def intercepting(run: Run[FusionParams]) -> Intercept | None:
    """Return the first rule that holds; none if the client named the mode itself."""
    rules = () if "x-polyvox-mode" in run.headers else run.params.intercept
    return next((rule for rule in rules if rule.holds(run)), None)


def reviewing(
    run: Run[FusionParams],
    remembering: list["asyncio.Task[None]"],
    failures: list[ModelError],
) -> MountedTool:
    """Return the tool with which the main model asks the panel, once in each user turn.

    ``remembering`` gets tasks that run in parallel with the main model's answer, ``failures`` the
    failures of a panel without any answer.
    """
    told: list[str] = []

    async def review(call: ToolCall) -> str:
        # In a later request of the same turn the panel may have reported before.
        known = None if run.conversation.opens_turn else await run.recall(REPORT)
        known = told[0] if told else known
        if known:
            return f"The panel has reported on this turn already:\n\n{known}"
        schema = run.params.tool_schema
        if schema and (wrong := schema_complaints(call.arguments or "{}", schema, "The call")):
            run.note("panel not asked", complaints=wrong)
            return "The panel was not asked. Call it again, corrected:\n" + "\n".join(wrong)
        if schema:
            run.note("passed to the panel", arguments=json.loads(call.arguments or "{}"))
        problem = call.arguments if schema else problem_of(call)
        text = await report(run, problem or run.conversation.last_user_text, failures)
        told.append(text)
        remembering.append(asyncio.create_task(run.remember(REPORT, text)))
        return text

    problem = {"type": "string", "description": "The complete problem, with all constraints."}
    schema = {
        "type": "object",
        "properties": {"problem": problem},
        "required": ["problem"],
        "additionalProperties": False,
    }
    wanted = run.params.tool_schema or schema
    return MountedTool(Tool(run.params.tool_name, run.params.tool_description, wanted), review)


async def reviewed_first(
    run: Run[FusionParams], mounted: MountedTool, failures: list[ModelError]
) -> tuple[Message, ...]:
    """Ask the panel first, and return messages as if the main model had called it."""
    if run.params.tool_schema:
        return await passed_first(run, mounted, failures)
    arguments = json.dumps({"problem": run.conversation.last_user_text}, ensure_ascii=False)
    call = ToolCall(f"call_{run.random().getrandbits(64):016x}", run.params.tool_name, arguments)
    return assistant(call), tool_result(call, await mounted.answer(call))


async def passed_first(
    run: Run[FusionParams], mounted: MountedTool, failures: list[ModelError]
) -> tuple[Message, ...]:
    """Have main call the panel, because only it can fill in the schema, and ask the panel.

    If main cannot be made to call it, the panel is asked about the user's newest text.
    """
    forced = ToolChoice("tool", run.params.tool_name)
    asked = run.conversation.offering([mounted.tool]).with_options(tool_choice=forced, format=None)
    try:
        reply = await run.ask(run.params.main, asked, step="brief")
        calls = [call for call in reply.tool_calls if call.name == run.params.tool_name]
    except ModelError as error:
        run.note("no brief", kind=error.kind, message=error.message)
        calls = []
    if calls:
        return assistant(calls[0]), tool_result(calls[0], await mounted.answer(calls[0]))
    text = await report(run, run.conversation.last_user_text, failures)
    return (user(f"A panel of experts reports on this:\n\n{text}"),)


async def already_reported(_call: ToolCall) -> str:
    return "The panel has reported on this turn already; its report is above."


def problem_of(call: ToolCall) -> str:
    """Return the problem stated by the main model, empty if its arguments have none."""
    try:
        problem = json.loads(call.arguments).get("problem")
    except (ValueError, AttributeError):
        return ""
    return problem if isinstance(problem, str) else ""


async def report(run: Run[FusionParams], problem: str, failures: list[ModelError]) -> str:
    """Ask the panel, then the judge; return a text with which the main model can continue."""
    params, voices = run.params, run.params.voices
    asked = run.conversation.then(user(problem)).instructed(params.branch_prompt)
    asked = asked.without_tool_use().with_options(format=None)
    if why := await over_limit(run, asked):
        run.note("panel skipped", reason=why)
        return f"The panel was not asked: {why}. Go on alone."
    branches = [
        Branch(f"branch {number}", v.model, asked.instructed(v.persona) if v.persona else asked)
        for number, v in enumerate(voices, start=1)
    ]
    await tell(run, f"Asking a panel of {len(branches)}.\n")
    panel = await run.panel(
        branches,
        quorum=min(params.quorum, len(branches)),
        grace_s=params.grace_s,
        timeout_s=params.timeout_s,
    )
    answers = [(branch, reply.text.strip()) for branch, reply in panel.answers]
    answers = [(branch, text) for branch, text in answers if text]
    if not answers:
        failures += [error for _, error in panel.failures]
        return f"No expert answered; go on alone. {failures_of(panel)}"
    if len(answers) == 1:
        return f"Only one expert answered:\n\n{answers[0][1]}\n\n{failures_of(panel)}".strip()
    await tell(run, f"{len(answers)} of {len(branches)} answered; comparing them.\n")
    # Shuffled, because judges favour certain positions.
    run.random().shuffle(answers)
    comparison = Comparison(problem, tuple(text for _, text in answers))
    shown = zip(comparison.letters, answers, strict=True)
    run.note("shown to the judge", **{letter: branch.step for letter, (branch, _) in shown})
    try:
        synthesis = await run.ask(
            params.judge,
            comparison.conversation(params.judge_prompt),
            step="synthesis",
            timeout_s=params.timeout_s,
        )
    except ModelError as error:
        run.note("synthesis failed", kind=error.kind, message=error.message)
        return f"The judge failed ({error.message}). The experts' answers:\n\n{comparison.listed}"
    if points := points_by_heading(synthesis.text):
        run.note("report", **points)
    return f"{synthesis.text.strip()}\n\n{failures_of(panel)}".strip()


async def over_limit(run: Run[FusionParams], asked: Conversation) -> str:
    """Return why the panel would exceed a limit or its cost is not known, else an empty text."""
    params, voices = run.params, run.params.voices
    # Besides the branches: the judge, and the main model's answer.
    calls = run.calls + len(voices) + 2
    if params.max_calls is not None and calls > params.max_calls:
        return f"it would come to {calls} calls, and {params.max_calls} are allowed"
    each = sum(len(message.text) for message in asked.messages) // CHARACTERS_PER_TOKEN
    tokens = len(voices) * each
    if params.max_tokens is not None and tokens > params.max_tokens:
        return f"it would take about {tokens} tokens, and {params.max_tokens} are allowed"
    if params.max_cost_usd is None:
        return ""
    sizes = [(voice.model, each) for voice in voices]
    sizes.append((params.judge, len(voices) * ANSWER_TOKENS))
    planned = [{"model": m, "input": size, "output": ANSWER_TOKENS} for m, size in sizes]
    found = await run.tool("estimate_cost", {"calls": planned}, step="budget")
    if found["unknown"]:
        return f"nobody knows the price of {', '.join(found['unknown'])}"
    if found["usd"] > params.max_cost_usd:
        return f"it would cost about ${found['usd']:.2g}, and ${params.max_cost_usd:g} is allowed"
    return ""


async def tell(run: Run[FusionParams], text: str) -> None:
    if run.params.progress:
        await run.show(text)


def failures_of(panel: Panel) -> str:
    """Return the failed branches and reasons for the main model, empty if there are none."""
    if not panel.failures:
        return ""
    listed = "; ".join(f"{branch.step}: {error.message}" for branch, error in panel.failures)
    return f"({len(panel.failures)} of the experts did not answer: {listed})"
