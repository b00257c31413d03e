"""The address of the Web UI, stored in the data folder for the command line.

Every command imports this, so it must not import what only a server needs.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

from polyvox.activities.storage.private_files import write_private
from polyvox.gateway.api.run_document import workflow_link


@dataclass(frozen=True, slots=True)
class UiAddress:
    """``url`` is the Web UI's address, such as ``http://127.0.0.1:8484/ui``."""

    url: str
    namespace: str

    def run_link(self, run_id: str) -> str | None:
        """Return the page of one run."""
        return workflow_link(self.url, self.namespace, run_id)

    def enter_link(self, ticket: str) -> str:
        """Return the link that uses up ``ticket`` and opens a session."""
        return f"{self.url}/enter?{urlencode({'ticket': ticket})}"


def write_ui_address(data: Path, ui_address: UiAddress | None) -> None:
    """Store the address for the links that commands print; None if there is no Web UI."""
    if ui_address is None:
        _file(data).unlink(missing_ok=True)
    else:
        write_private(_file(data), json.dumps(asdict(ui_address)).encode() + b"\n")


def read_ui_address(data: Path) -> UiAddress | None:
    """Return what ``write_ui_address`` stored last, or None if nothing usable is stored."""
    try:
        document = json.loads(_file(data.expanduser()).read_text(encoding="utf-8"))
        return UiAddress(str(document["url"]), str(document["namespace"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(data: Path) -> Path:
    return data / "web_ui.json"
