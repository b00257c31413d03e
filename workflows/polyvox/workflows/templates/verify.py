"""Checks an answer, repairs it within limits, and only then sends it to the client."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from polyvox.workflows import (
    Check,
    Checked,
    FitsTools,
    FollowsSchema,
    Model,
    ModelError,
    OutputFormat,
    Params,
    Reply,
    Run,
    Text,
    Verified,
    flow,
    user,
)
from polyvox.workflows.checks import REPAIR_PROMPT, VERIFIER_PROMPT

FORMATTER_PROMPT = (
    "Write your last answer again as it is to be sent: same content, nothing added and nothing "
    "left out, in the form that was asked for."
)

CHECKER_COMMAND = "python checker.py answer.txt"
CHECKER_S = 150.0


class VerifyParams(Params):
    model: Model = Field(description="answers, and repairs its answers")
    json_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of the answer; default: the one the client requests"
    )
    tool_arguments: bool = Field(True, description="check calls against the client's tools")
    verifier: Model | None = Field(None, description="judges the answer")
    checker: str | None = Field(
        None,
        description="source of a Python program that gets the answer as a file and prints "
        "complaints; runs in the sandbox",
    )
    rounds: int = Field(2, ge=0, le=10, description="maximum number of repairs")
    formatter: Model | None = Field(
        None, description="puts an answer that passed into its final form"
    )
    on_failure: Literal["error", "last", "message"] = Field(
        "error", description="what the client gets if no answer passes"
    )
    failure_message: str = Field(
        "No answer passed its checks.", description="the answer of on_failure = message"
    )
    verifier_prompt: str = Field(VERIFIER_PROMPT, description="the verifier's instructions")
    repair_prompt: str = Field(
        REPAIR_PROMPT, pattern=r"\{complaints\}", description="asks to fix {complaints}"
    )
    formatter_prompt: str = Field(FORMATTER_PROMPT, description="asks for the final form")
    timeout_s: float = Field(600.0, gt=0, description="seconds for one answer")


@flow
async def verify(run: Run[VerifyParams]) -> Reply:
    """Answer, check, repair; the client gets only an answer that passed."""
    params = run.params
    checks = checks_of(run)
    conversation = run.conversation
    if params.json_schema:
        wanted = OutputFormat("json_schema", params.json_schema, "answer")
        conversation = conversation.with_options(format=wanted)
    first = await run.ask(params.model, conversation, step="answer", timeout_s=params.timeout_s)
    checked = await run.repair(
        params.model,
        first,
        checks,
        conversation=conversation,
        rounds=params.rounds,
        prompt=params.repair_prompt,
        timeout_s=params.timeout_s,
    )
    run.note(
        "checked",
        passed=checked.passed,
        repairs=checked.rounds,
        complaints=list(checked.complaints),
    )
    if not checked.passed:
        return failed(run, checked)
    if params.formatter and not checked.reply.tool_calls:
        return await formatted(run, checked.reply, checks)
    return checked.reply


def checks_of(run: Run[VerifyParams]) -> list[Check]:
    """Return the checks required by parameters and request, cheap ones first."""
    params, checks = run.params, list[Check]()
    if params.tool_arguments:
        checks.append(FitsTools())
    wanted = run.conversation.options.format
    schema = params.json_schema or (wanted.schema if wanted else None)
    if schema:
        checks.append(FollowsSchema(schema))
    if params.checker:
        checks.append(program(params.checker))
    if params.verifier:
        checks.append(Verified(params.verifier, params.verifier_prompt))
    return checks


def program(source: str) -> Check:
    """Return a check by a Python program; each printed line, or its failure, is a complaint."""

    async def run_checker(run: Any, reply: Reply, /) -> Sequence[str]:
        if reply.tool_calls:
            return ()
        (result,) = await run.tool(
            "check_code",
            {
                "files": {"checker.py": source, "answer.txt": reply.text},
                "commands": [CHECKER_COMMAND],
            },
            step="check",
            # Longer than the command's own limit, so that its message about that is received.
            timeout_s=CHECKER_S,
        )
        lines = [line for line in result["output"].splitlines() if line.strip()]
        return lines if lines or result["passed"] else ["The checker failed without a word."]

    return run_checker


def failed(run: Run[VerifyParams], checked: Checked) -> Reply:
    """Return the client's reply if no answer passed."""
    match run.params.on_failure:
        case "last":
            return checked.reply
        case "message":
            return Reply((Text(run.params.failure_message),))
        case _:
            listed = "; ".join(checked.complaints[:5])
            raise ModelError(
                "unprocessable",
                f"No answer passed its checks after {checked.rounds} repairs: {listed}",
            )


async def formatted(run: Run[VerifyParams], reply: Reply, checks: Sequence[Check]) -> Reply:
    """Return the answer in its final form, or unchanged if the formatter fails."""
    params = run.params
    asked = run.conversation.then(reply.message, user(params.formatter_prompt)).without_tool_use()
    try:
        final = await run.ask(
            params.formatter or params.model, asked, step="format", timeout_s=params.timeout_s
        )
    except ModelError as error:
        run.note("formatter failed", kind=error.kind, message=error.message)
        return reply
    complaints = await run.check(final, checks)
    if complaints:
        run.note("formatter's answer did not pass", complaints=list(complaints))
        return reply
    return final
