"""A ModelError's way into a Temporal failure and back."""

from datetime import timedelta
from typing import get_args

import pytest
from temporalio import exceptions
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutType,
)

from polyvox.workflows.boundary.failures import LONGEST_RETRY_WAIT_S, failure, model_error
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError


def wrapped(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="call_model",
        activity_id="1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_an_error_comes_back_as_it_went(kind: ErrorKind) -> None:
    """Kind, message and every member, through the wrapper Temporal puts around it."""
    error = ModelError(
        kind,
        "what happened",
        status=418,
        retry_after_s=3,
        provider="p",
        param="messages[0]",
        code="c",
        body="{}",
    )
    back = model_error(wrapped(failure(error, retryable=True)))
    assert vars(back) == vars(error)


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_only_what_may_help_is_tried_again(kind: ErrorKind) -> None:
    """The table decides, and never against the caller's veto."""
    error = ModelError(kind, "x")
    assert failure(error, retryable=True).non_retryable is not FAULTS[kind].retryable
    assert failure(error, retryable=False).non_retryable


def test_a_providers_wait_is_kept_within_reason() -> None:
    """A short one is waited for; a long one is the client's decision."""
    short = failure(ModelError("rate_limit", "x", retry_after_s=2), retryable=True)
    assert (short.non_retryable, short.next_retry_delay) == (False, timedelta(seconds=2))
    wait_s = LONGEST_RETRY_WAIT_S + 1
    long = failure(ModelError("rate_limit", "x", retry_after_s=wait_s), retryable=True)
    assert (long.non_retryable, long.next_retry_delay) == (True, None)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (
            exceptions.TimeoutError("t", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[]),
            "timeout",
        ),
        (CancelledError("c"), "cancelled"),
        (ApplicationError("x", type="ValueError"), "internal"),
        (ValueError("x"), "internal"),
        (ModelError("quota", "x"), "quota"),
    ],
)
def test_every_end_of_a_chain_has_a_kind(cause: BaseException, kind: ErrorKind) -> None:
    """Also what is not ours becomes an error a client can be told."""
    assert model_error(wrapped(cause)).kind == kind


@pytest.mark.parametrize(
    ("earlier", "kind"),
    [
        (ModelError("rate_limit", "slow down", retry_after_s=3), "rate_limit"),
        (ModelError("overloaded", "busy"), "timeout"),
        (None, "timeout"),
    ],
)
def test_an_attempt_that_hangs_does_not_hide_what_an_earlier_one_met(
    earlier: ModelError | None, kind: str
) -> None:
    """If the client can act on that better; Temporal puts it behind the timeout."""
    late = exceptions.TimeoutError(
        "activity StartToClose timeout",
        type=TimeoutType.START_TO_CLOSE,
        last_heartbeat_details=[],
    )
    late.__cause__ = failure(earlier, retryable=True) if earlier else None
    error = model_error(wrapped(late))
    assert error.kind == kind
    assert error.retry_after_s == (
        earlier.retry_after_s if kind == "rate_limit" and earlier else None
    )


def test_the_last_attempt_reports_the_failure_that_helps_most() -> None:
    """With its own wait and its own decision whether another attempt may help."""
    met = ModelError("rate_limit", "slow down", retry_after_s=3)
    last = ModelError("provider_authentication", "wrong key")
    failed = failure(last, retryable=True, reported=met)
    assert (failed.type, failed.message) == ("rate_limit", "slow down")
    assert (failed.non_retryable, failed.next_retry_delay) == (True, None)
