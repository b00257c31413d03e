"""The columns of the matrix: what a client is asked, and with which faults of the provider."""

from dataclasses import dataclass

SUM = "What is 17 + 25?"
SEE = "What does this image show?"
WRITE = "Run the command `echo hi there > hello.txt`"
WEATHER = "Call get_weather for Paris."

KEEP_ALIVE_S = 4.0
"""The server's keep-alive interval. It is longer than the server's own retries take: a client
must get a provider's refusal as an HTTP status, which is impossible after a keep-alive."""

IDLE_LIMIT_S = 8.0
"""The client's idle timeout in the column "idle", for clients that allow setting it.

Their default is five minutes or more; the shorter timeout shows within seconds that keep-alives
reset it. The other clients at least show that they accept keep-alives."""

SILENCE_S = 14


@dataclass(frozen=True, slots=True)
class Scenario:
    """One column. ``words`` go into the simulated model's name: its pace and faults.

    Agents are asked ``prompt``, libraries ``library_prompt``; these stream only if ``stream``.
    """

    name: str
    words: str = ""
    prompt: str = SUM
    library_prompt: str = SUM
    image: bool = False
    tool: bool = False
    stream: bool = True
    idle: bool = False


SCENARIOS = (
    Scenario("plain", stream=False),
    Scenario("tool", prompt=WRITE, library_prompt=WEATHER, tool=True),
    Scenario("image", prompt=SEE, library_prompt=SEE, image=True),
    Scenario("idle", f"-ttft{SILENCE_S * 1000}", idle=True),
    # The run retries both faults: its third attempt is answered.
    Scenario("mended", "-err429x1-ra1-err500x1"),
    # All three attempts of the first run are refused, so the client has to ask again.
    Scenario("429", "-err429x3-ra1"),
    Scenario("500", "-err500x3", stream=False),
    # Cut after the client has seen part of the answer, so the deltas come slowly. If nothing was
    # read before the connection breaks, the run retries without the client noticing.
    Scenario("cut", "-itl50-cut5x1"),
)

RECOVERIES = ("429", "500", "cut")
