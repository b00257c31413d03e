"""The command line, run in this process on a running program's data folder."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from polyvox.gateway.cli.main import app
from tests.programs.running import Live

PARAMS_FLOW = '''\
from polyvox.workflows import Model, Params, Reply, Run, Text, flow


class {params}(Params):
    model: Model = "sim-chat:main"
    word: str = "{word}"


@flow
async def {name}(run: Run[{params}]) -> Reply:
    """{name} says its word."""
    {body}
'''

ASKS = 'await run.ask(run.params.model, step="listen")\n    return Reply((Text(run.params.word),))'


def source(name: str, word: str = "one", body: str = ASKS) -> str:
    """Return a flow that asks a model and then says ``word``, or does what ``body`` says."""
    return PARAMS_FLOW.format(name=name, word=word, body=body, params=f"{name.title()}Params")


def polyvox(live: Live, *words: str) -> Result:
    """Run ``polyvox`` with ``words`` on the program's data folder."""
    return CliRunner().invoke(app, [*words, "--data", str(live.data)])


def told(live: Live, *words: str) -> str:
    """Return what a command that must succeed prints."""
    done = polyvox(live, *words)
    assert done.exit_code == 0, done.output
    return done.output


def told_json(live: Live, *words: str) -> Any:
    """Return what a command that must succeed prints with ``--json``."""
    return json.loads(told(live, *words, "--json"))


def refused(live: Live, *words: str) -> str:
    """Return the error of a command that must fail."""
    done = polyvox(live, *words)
    assert done.exit_code == 1, done.output
    return done.stderr
