"""The virtual models the tests of the templates call, and how to see what went upstream."""

import json
from typing import Any

import httpx

from polyvox.workflows.conversation import Json
from tests.programs.running import Live


def _model(name: str, flow: str, **params: Json) -> str:
    # A JSON document is the value of a string here: TOML has no null, and needs none.
    lines = "\n".join(f"{key} = {_toml(value)}" for key, value in params.items())
    return f'[models.{name}]\nflow = "{flow}"\n[models.{name}.params]\n{lines}\n'


def _toml(value: Json) -> str:
    match value:
        case dict():
            members = ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items())
            return f"{{ {members} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value)


TESTS = "from solution import add\nassert add(2, 3) == 5\nassert add(-1, 1) == 0\n"
CHECKER = """\
import sys

if "2 + 2 = 5" in open(sys.argv[1]).read():
    print("two and two are four")
"""
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["answer", "score"],
    "additionalProperties": False,
}

_BUDGETS: dict[str, dict[str, Json]] = {
    "two": {},
    "calls": {"max_calls": 4},
    "tokens": {"max_tokens": 10},
    "strangers": {"max_cost_usd": 100.0},
}

MODELS = "\n".join(
    [
        *(
            _model(
                f"consult-{p}", "consult", worker=f"sim-{p}:main-idworker", expert="sim-chat:sage"
            )
            for p in ("chat", "responses", "messages")
        ),
        _model(
            "consult-expert-fails",
            "consult",
            worker="sim-chat:main",
            expert="sim-chat:sage-err400",
        ),
        _model(
            "routed",
            "router",
            default="sim-chat:main-idcheap",
            sticky=False,
            rules=[
                {"name": "pictures", "images": True, "model": "sim-messages:main-ideye"},
                {"name": "tools", "tools": True, "model": "sim-responses:main-idtools"},
                {"name": "german", "language": "de", "model": "sim-chat:main-idgerman"},
                {"name": "law", "matches": "(?i)contract", "model": "sim-chat:main-idlaw"},
                {"name": "long", "longer_than": 300, "model": "sim-chat:main-idlong"},
                {
                    "name": "tenant",
                    "header": {"x-polyvox-tenant": "^gold$"},
                    "model": "sim-chat:main-idgold",
                },
            ],
        ),
        _model(
            "routed-by-label",
            "router",
            default="sim-chat:main-idcheap",
            sticky=False,
            classifier="sim-chat:sorter",
            labels={"poetry": "sim-chat:main-idpoet", "code": "sim-chat:main-idcoder"},
        ),
        _model(
            "routed-label-fails",
            "router",
            default="sim-chat:main-idcheap",
            sticky=False,
            classifier="sim-chat:sorter-err400",
            labels={"poetry": "sim-chat:main-idpoet"},
        ),
        _model(
            "routed-chain",
            "router",
            default="sim-chat:main-err400-idfirst",
            fallbacks=["sim-responses:main-refuse-idsecond", "sim-messages:main-idthird"],
            sticky=False,
        ),
        _model(
            "routed-cut",
            "router",
            default="sim-chat:main-n40-cut20-idcut",
            fallbacks=["sim-chat:main-idspare"],
            sticky=False,
        ),
        _model(
            "routed-sticky",
            "router",
            default="sim-chat:main-idplain",
            rules=[
                {"matches": "(?i)contract", "model": "sim-chat:main-idsticky"},
                {"images": True, "overrides": True, "model": "sim-chat:main-ideye"},
            ],
        ),
        _model(
            "verified-schema",
            "verify",
            model="sim-chat:main-slip1-idschema",
            json_schema=SCHEMA,
        ),
        _model("verified-tools", "verify", model="sim-messages:main-slip1-idcalls"),
        _model(
            "verified-reader",
            "verify",
            model="sim-chat:main-slip1-idwriter",
            verifier="sim-chat:checker",
            formatter="sim-chat:main-idformat",
        ),
        _model(
            "verified-program",
            "verify",
            model="sim-chat:main-slip1-idprogram",
            checker=CHECKER,
        ),
        *(
            _model(
                f"verified-never-{what}",
                "verify",
                model="sim-chat:main-slip9-idnever",
                verifier="sim-chat:checker",
                rounds=1,
                on_failure=what,
                failure_message="Sorry.",
            )
            for what in ("error", "last", "message")
        ),
        *(
            _model(f"sees-{p}", "vision", main=f"sim-{p}:main-idblind", eye="sim-chat:eye")
            for p in ("chat", "responses", "messages")
        ),
        _model(
            "sees-pages",
            "vision",
            main="sim-chat:main-idpages",
            eye="sim-chat:eye-idpages",
            pdf_pages=2,
        ),
        _model(
            "reads",
            "vision",
            main="sim-chat:main-idreader",
            eye="sim-chat:eye-idnever",
            ocr="only",
        ),
        _model("sees-not", "vision", main="sim-chat:main-idblinder", eye="sim-chat:eye-err400"),
        _model(
            "patched",
            "patch",
            coder="sim-chat:coder-slip1",
            files={"test_solution.py": TESTS},
            commands=["python -m py_compile solution.py", "python test_solution.py"],
        ),
        _model(
            "patched-never",
            "patch",
            coder="sim-chat:coder-slip9",
            files={"test_solution.py": TESTS},
            commands=["python test_solution.py"],
            rounds=1,
        ),
        _model("patched-unrun", "patch", coder="sim-chat:coder", reviewer="sim-chat:checker"),
        _model(
            "fused-voices",
            "fusion",
            main="sim-chat:main",
            panel=[
                {"model": "sim-chat:skeptic", "samples": 2},
                {"model": "sim-chat:engineer", "persona": "You are a tax lawyer."},
            ],
            judge="sim-chat:judge",
            progress=True,
        ),
        *(
            _model(
                f"fused-{name}",
                "fusion",
                main="sim-chat:main",
                panel=["sim-chat:skeptic", "sim-chat:engineer"],
                judge="sim-chat:judge",
                **params,
            )
            for name, params in _BUDGETS.items()
        ),
        *(
            _model(
                f"fused-{name}",
                "fusion",
                main="sim-chat:main",
                panel=["priced:skeptic", "priced:engineer"],
                judge="priced:judge",
                max_cost_usd=most,
            )
            for name, most in (("dear", 4.5), ("cheap", 10.0))
        ),
        _model(
            "routed-budget",
            "router",
            default="priced:main-iddear",
            budget_usd=0.5,
            rules=[
                {
                    "name": "thrift",
                    "left_below_usd": 0.5,
                    "overrides": True,
                    "model": "priced:main-idfree",
                }
            ],
        ),
    ]
)


def received(live: Live, model: str) -> list[Any]:
    """Return the bodies the simulator got for its model of that name, oldest first."""
    url = f"{live.simulator.url}/requests"
    answer = httpx.get(url, params={"model": model}, trust_env=False)
    return [request["body"] for request in answer.json()["requests"]]


def notes(run: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """Return the run's notes of that kind."""
    return [note for note in run["notes"] if note["what"] == what]
