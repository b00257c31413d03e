"""The configuration of a deployment: one virtual model for each cell."""

from collections.abc import Iterable

from polyvox.worker.settings.file import ServerSettings
from tests.crash.cells import Cell
from tests.crash.upstream import Upstream

ORPHANS_S = 6.0
"""The time a run waits for the retry of a client whose process died, if the program has it."""

MAX_REQUESTS = 10_000


def configuration(cells: Iterable[Cell], upstream: Upstream) -> str:
    """Return a ``polyvox.toml`` with the models of ``cells``."""
    wanted = {"max_requests_per_key": MAX_REQUESTS, "orphans_s": ORPHANS_S}
    known = {n: value for n, value in wanted.items() if n in ServerSettings.model_fields}
    lines = ["[server]", *(f"{name} = {value}" for name, value in known.items())]
    for name, protocol, url in (
        ("chat", "chat", upstream.url),
        ("messages", "messages", upstream.url),
        ("unread", "chat", upstream.unread_url),
    ):
        lines += [
            f"[providers.{name}]",
            f'protocol = "{protocol}"',
            f'base_url = "{url}"',
            'prices."*" = { input = 1, output = 10 }',
        ]
    for cell in cells:
        lines += _model(cell)
    return "\n".join(lines) + "\n"


def _model(cell: Cell) -> list[str]:
    """Return the lines of a cell's model. The first call of a run that stops right after its
    start goes to the port that leaves requests unread."""
    provider = "messages" if cell.protocol == "messages" else "chat"
    first = "unread" if cell.point == "started" else provider

    def named(role: str, at: str = provider) -> str:
        return f'"{at}:{role}-{cell.mark}"'

    lines = [f'[models."{cell.model}"]', f'flow = "{cell.flow}"']
    if cell.flow == "direct":
        lines.append(f"params.model = {named('main', first)}")
    elif cell.flow == "consult":
        lines.append(f"params.worker = {named('worker', first)}")
        lines.append(f"params.expert = {named('expert')}")
    else:
        voices = ", ".join(named(f"voice{number}", first) for number in (1, 2, 3))
        lines.append(f"params.main = {named('author')}")
        lines.append(f"params.panel = [{voices}]")
        lines.append(f"params.judge = {named('judge')}")
        lines.append('params.mode = "required"')
        lines.append("params.quorum = 3")
    return lines


def connections_before_start(cells: Iterable[Cell]) -> int:
    """Return how many connections the unread port gets when all cells are at their points."""
    starting = [cell for cell in cells if cell.point == "started"]
    return sum(3 if cell.flow == "fusion" else 1 for cell in starting)
