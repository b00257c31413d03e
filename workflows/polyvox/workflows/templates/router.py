"""Sends each request to a suitable model, and to another one if that fails."""

import json
from dataclasses import dataclass
from datetime import time

from pydantic import Field, field_validator, model_validator

from polyvox.workflows import (
    Image,
    Model,
    ModelError,
    OutputFormat,
    Params,
    Reply,
    Run,
    Text,
    ToolCall,
    ToolResult,
    flow,
    user,
)
from polyvox.workflows.conversation import Conversation, Message
from polyvox.workflows.errors import most_actionable
from polyvox.workflows.language import LANGUAGES, language_of
from polyvox.workflows.linear_patterns import PatternError, linear_pattern
from polyvox.workflows.media import media_in
from polyvox.workflows.turn_rules import HeaderPatterns, headers_match

CLASSIFIER_PROMPT = (
    "You sort requests by the kind of work they need. Choose the one label that fits best. You do "
    "not answer the request."
)

LONGEST_CLASSIFIED = 8000
CHARACTERS_PER_TOKEN = 4


class Rule(Params):
    """A model, and the conditions under which it is chosen, all of which must hold."""

    model: Model = Field(description="answers if the rule holds")
    name: str = Field("", description="name of the rule in the trace")
    longer_than: int | None = Field(None, ge=0, description="tokens of the conversation, estimated")
    shorter_than: int | None = Field(
        None, ge=0, description="tokens of the conversation, estimated"
    )
    images: bool | None = Field(None, description="whether the conversation has images")
    tools: bool | None = Field(None, description="whether the client offers tools")
    matches: str | None = Field(None, description="a regular expression found in the user's text")
    language: str | None = Field(
        None, description="two letters: en, de, fr, es, it, pt, nl, zh ..."
    )
    header: HeaderPatterns = Field(
        default_factory=dict, description="request headers and the expressions their values match"
    )
    from_utc: time | None = Field(None, description="from this time of day on, UTC")
    until_utc: time | None = Field(None, description="before this time of day, UTC")
    left_below_usd: float | None = Field(
        None, gt=0, description="US dollars: if less is left of the session's budget_usd"
    )
    overrides: bool = Field(False, description="applies even if the session already has a model")

    @field_validator("matches")
    @classmethod
    def _compiles(cls, matches: str | None) -> str | None:
        try:
            linear_pattern(matches or "")
        except PatternError as error:
            raise ValueError(str(error)) from None
        return matches

    @field_validator("language")
    @classmethod
    def _is_told(cls, language: str | None) -> str | None:
        if language is not None and language not in LANGUAGES:
            raise ValueError(f"{language!r} cannot be detected, only {', '.join(LANGUAGES)}")
        return language


class RouterParams(Params):
    default: Model = Field(description="answers if no rule or label applies")
    rules: tuple[Rule, ...] = Field((), description="the first rule that holds is used")
    classifier: Model | None = Field(None, description="a small model that chooses a label")
    labels: dict[str, Model] = Field(
        default_factory=dict, description="the classifier's labels and their models"
    )
    fallbacks: tuple[Model, ...] = Field(
        (), description="asked in this order if a model fails or refuses"
    )
    hold: bool = Field(
        False,
        description="send only complete answers, to fall back after refusals with text",
    )
    sticky: bool = Field(True, description="a session keeps its first model")
    budget_usd: float | None = Field(
        None, gt=0, description="US dollars for a session, for rules with left_below_usd"
    )
    classifier_prompt: str = Field(CLASSIFIER_PROMPT, description="the classifier's instructions")
    classifier_timeout_s: float = Field(20.0, gt=0, description="seconds for the classifier")
    timeout_s: float = Field(600.0, gt=0, description="seconds for one model")

    @model_validator(mode="after")
    def _has_a_budget(self) -> "RouterParams":
        if self.budget_usd is None and any(rule.left_below_usd for rule in self.rules):
            raise ValueError("a rule has left_below_usd, which requires budget_usd")
        return self


@flow
async def router(run: Run[RouterParams]) -> Reply:
    """Rules, then a classifier, choose the model; other models are fallbacks."""
    params = run.params
    wanted = ["route"] * params.sticky + ["spent"] * (params.budget_usd is not None)
    known = await run.recall_each(wanted, scope="session")
    stuck, spent = known.get("route"), Spent(**known.get("spent", {}))
    left = None if params.budget_usd is None else spent.left_of(params.budget_usd)
    model, reason = await choose(run, stuck, left)
    run.note("routed", model=model, reason=reason, **({} if left is None else {"left_usd": left}))
    if params.sticky and model != stuck:
        await run.remember("route", model, scope="session")
    reply = await first_that_answers(run, list(dict.fromkeys([model, *params.fallbacks])))
    if left is not None:
        usd, unknown = spent.usd + run.cost.usd, spent.unknown + run.cost.unknown
        await run.remember("spent", {"usd": usd, "unknown": unknown}, scope="session")
    return reply


@dataclass(frozen=True)
class Spent:
    """The cost of a session: US dollars, and the number of calls whose cost is unknown."""

    usd: float = 0.0
    unknown: int = 0

    def left_of(self, budget: float) -> float:
        """Return the rest of ``budget``, 0 if the cost of a call is unknown."""
        return 0.0 if self.unknown else max(0.0, budget - self.usd)


async def choose(
    run: Run[RouterParams], stuck: str | None, left: float | None = None
) -> tuple[str, str]:
    """Return the model and the reason; ``left`` is the rest of the session's budget."""
    params = run.params
    for number, rule in enumerate(params.rules, start=1):
        if (not stuck or rule.overrides) and holds(run, rule, left):
            return rule.model, f"rule {rule.name or number}"
    if stuck:
        return stuck, "the session's model"
    if params.classifier and params.labels:
        label = await classified(run)
        if label:
            return params.labels[label], f"label {label}"
    return params.default, "default"


def holds(run: Run[RouterParams], rule: Rule, left: float | None) -> bool:
    """Return whether all conditions of ``rule`` hold."""
    conversation = run.conversation
    if rule.left_below_usd is not None and (left is None or left >= rule.left_below_usd):
        return False
    if rule.longer_than is not None and tokens_of(conversation) <= rule.longer_than:
        return False
    if rule.shorter_than is not None and tokens_of(conversation) >= rule.shorter_than:
        return False
    shows = any(isinstance(part, Image) for part in media_in(conversation))
    if rule.images is not None and rule.images != shows:
        return False
    if rule.tools is not None and rule.tools != bool(conversation.tools):
        return False
    text = conversation.last_user_text
    if rule.matches is not None and not linear_pattern(rule.matches).search(text):
        return False
    if rule.language is not None and rule.language != language_of(text):
        return False
    if not headers_match(run.headers, rule.header):
        return False
    return is_between(run.now().time(), rule.from_utc, rule.until_utc)


def is_between(now: time, start: time | None, stop: time | None) -> bool:
    """Return whether ``now`` is in the span, which may include midnight."""
    if start is None or stop is None:
        return (start is None or now >= start) and (stop is None or now < stop)
    return start <= now < stop if start <= stop else now >= start or now < stop


def tokens_of(conversation: Conversation) -> int:
    """Return an estimate: one token per four characters of text, calls and results."""
    system = [conversation.system] if conversation.system else []
    parts = [part for message in (*system, *conversation.messages) for part in message.parts]
    inner = [p for part in parts if isinstance(part, ToolResult) for p in part.parts]
    texts = (part.text for part in (*parts, *inner) if isinstance(part, Text))
    arguments = (part.arguments for part in parts if isinstance(part, ToolCall))
    return (sum(map(len, texts)) + sum(map(len, arguments))) // CHARACTERS_PER_TOKEN


async def classified(run: Run[RouterParams]) -> str | None:
    """Return the classifier's label, None if it fails or returns no valid label."""
    params = run.params
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": [*params.labels]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    labels = ", ".join(params.labels)
    request = run.conversation.last_user_text[:LONGEST_CLASSIFIED]
    asked = Conversation(
        (user(f"<labels>{labels}</labels>\n<request>\n{request}\n</request>"),),
        system=Message("system", (Text(params.classifier_prompt),)),
    ).with_options(format=OutputFormat("json_schema", schema, "label", strict=True))
    try:
        reply = await run.ask(
            params.classifier or "", asked, step="classify", timeout_s=params.classifier_timeout_s
        )
        label = json.loads(reply.text)["label"]
    except ModelError as error:
        run.note("classifier failed", kind=error.kind, message=error.message)
        return None
    except (ValueError, TypeError, KeyError):
        label = None
    if label not in params.labels:
        run.note("classifier not understood", said=str(label))
        return None
    return str(label)


async def first_that_answers(run: Run[RouterParams], chain: list[str]) -> Reply:
    """Ask one model after the other until one answers; the last one's answer is final.

    If it fails too, the client gets the failure that helps it most.
    """
    failures: list[ModelError] = []
    for model in chain[:-1]:
        try:
            reply = await asked(run, model)
        except ModelError as error:
            if error.shown or error.kind == "flow_error":
                raise
            failures.append(error)
            run.note("fell back", model=model, kind=error.kind, message=error.message)
            continue
        if reply.finish != "refusal" or (reply.parts and not run.params.hold):
            return reply
        run.note("fell back", model=model, kind="refusal")
    try:
        return await asked(run, chain[-1])
    except ModelError as error:
        if error.kind == "flow_error":
            raise
        raise most_actionable([*failures, error]) from None


async def asked(run: Run[RouterParams], model: str) -> Reply:
    return await run.ask(
        model, step="answer", emit=not run.params.hold, timeout_s=run.params.timeout_s
    )
