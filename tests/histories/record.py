"""Record runs of the flows that ship: ``python -m tests.histories.record``, or some: ``vision``.

Each version of Polyvox has a folder of histories, recorded once, at its release, and never
recorded again (``docs/decisions/0026``). A template that is new is recorded for the version that
brings it. The script refuses to replace a file.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from polyvox.worker.engine.ports import free_port
from tests.gateway.generate.test_failures import request
from tests.programs.commands import told
from tests.programs.optional_parts import png
from tests.programs.running import ENVIRON, Live, live_program

ADVICE = "Should we move the billing system to Rust this year?"
FOLDER = Path(__file__).parent / version("polyvox")

REQUESTS: Mapping[str, tuple[str, str]] = {
    "direct": ("plain-chat", "hello there"),
    "direct-failed": ("sim-chat:main-err400", "hello there"),
    "fusion-auto": ("panel-auto", ADVICE),
    "fusion-required": ("panel-required", ADVICE),
    "fusion-one-fails": ("panel-one-fails", ADVICE),
    "fusion-one-stalls": ("panel-one-stalls", ADVICE),
    "consult": ("recorded-consult", ADVICE),
    "patch": ("recorded-patch", "Write a Python function that adds two numbers."),
    "router": ("recorded-router", "hello there"),
    "vision": ("recorded-vision", "What is in it?"),
    "verify": ("recorded-verify", "hello there"),
}
"""By the history's name: the model that is asked, and what."""

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "consult": ("worker=sim-chat:main", "expert=sim-messages:engineer"),
    "patch": ("coder=sim-chat:coder",),
    "router": (
        'rules=[{"model": "sim-messages:main", "matches": "hello"}]',
        "default=sim-chat:main",
    ),
    "vision": ("main=sim-chat:main", "eye=sim-chat:eye"),
    "verify": ("model=sim-chat:main", "verifier=sim-responses:verifier"),
}
"""Parameters of the models ``recorded-TEMPLATE``."""


def record(live: Live, name: str) -> None:
    """Ask, and write the run that answered; raises FileExistsError instead of replacing one."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.json"
    if file.exists():
        raise FileExistsError(f"{file} is there already. Runs of a version are recorded once.")
    model, text = REQUESTS[name]
    document: Any = request("chat", model, stream=False, text=text)
    if name == "vision":
        url = f"data:image/png;base64,{png(Pillow.new('RGB', (16, 16), 'red'))}"
        shown = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
        document["messages"][0]["content"] = shown
    run_id = live.post("chat", document).headers["x-polyvox-run"]
    live.ended(run_id)
    told(live, "runs", "export", run_id, str(file))


def main() -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    with tempfile.TemporaryDirectory() as folder:
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        with live_program(Path(folder), nobody, environ) as live:
            for flow, params in TEMPLATES.items():
                options = [word for param in params for word in ("--param", param)]
                told(live, "models", "set", f"recorded-{flow}", "--flow", flow, *options)
            for name in sys.argv[1:] or REQUESTS:
                record(live, name)
                print(name)


if __name__ == "__main__":
    main()
