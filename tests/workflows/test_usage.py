"""Usages add up by their own rules, with unknown parts."""

from polyvox.workflows import Model, Params, Reply, Run, Usage, flow
from polyvox.workflows.conversation import Text
from polyvox.workflows.testing import Rehearsal


class Asked(Params):
    model: Model = "x:a"


@flow
async def twice(run: Run[Asked]) -> Reply:
    """Ask twice, and note what both calls used."""
    one = await run.ask(run.params.model, step="one")
    two = await run.ask(run.params.model, step="two")
    both = one.usage + two.usage
    run.note("spent", both=both.total, all=run.usage.total, unknown=run.usage.unknown)
    return two


def test_numbers_that_are_known_add_up() -> None:
    """Also those that only one side knows, and from nothing."""
    one, two = Usage(input=10, output=2), Usage(input=5, cache_read=7, output=1, reasoning=1)
    assert one + two == Usage(15, 7, None, 3, 1)
    assert sum([one, two]) == one + two
    assert sum([one, two], Usage()) == one + two
    assert (one + two).total == 25
    assert Usage() + Usage() == Usage()


def test_the_total_of_an_unknown_call_is_unknown() -> None:
    """What the other calls used is the least; the sum says how many calls are missing."""
    known = Usage(input=10, output=2)
    total = known + Usage().of_call
    assert total.total is None
    assert (total.input, total.whole_input, total.unknown) == (10, 10, 1)
    assert total.meters == known
    assert Usage(output=3).of_call.unknown == 1
    assert known.of_call == known
    assert Usage().total is None


def test_a_rehearsal_imagines_usage() -> None:
    """A flow that reads it does not meet None."""
    played = Rehearsal({"x:a": "an answer"}).play(twice, "How much is it?")
    (note,) = played.notes
    assert note["both"] == note["all"]
    assert note["both"] > 0
    assert note["unknown"] == 0
    reply = played.reply
    assert reply.usage.input is not None
    assert reply.usage.output is not None


def test_a_rehearsal_with_unknown_usage_says_unknown() -> None:
    """An answer may be a Reply without usage, as some providers give."""
    silent = Reply((Text("an answer"),))
    played = Rehearsal({"x:a": ["an answer", silent]}).play(twice, "How much is it?")
    (note,) = played.notes
    assert note == {"what": "spent", "both": None, "all": None, "unknown": 1}
    assert played.reply.usage.unknown == 0, "what clients get has numbers only"
