"""What a client is asked in each column of the matrix, and with which faults of the provider."""

from dataclasses import dataclass

SUM = "What is 17 + 25?"
SEE = "What does this image show?"
WRITE = "Run the command `echo hi there > hello.txt`"
WEATHER = "Call get_weather for Paris."

KEEP_ALIVE_S = 4.0
"""How often the server gives a sign of life. Faults that it mends itself take less: a client is to
see a provider's refusal as an HTTP status, which it cannot once a stream has been kept alive."""

IDLE_LIMIT_S = 8.0
"""How long a client waits for the next bytes in the column "idle", where it lets itself be told.

Left alone they wait for five minutes and more; the shorter limit shows in seconds that signs of
life reset it. A client that cannot be told at least shows that it takes them."""

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
    # The run mends both faults itself: its third attempt is answered.
    Scenario("mended", "-err429x1-ra1-err500x1"),
    # All three attempts of the first run are refused, so the client has to ask again.
    Scenario("429", "-err429x3-ra1"),
    Scenario("500", "-err500x3", stream=False),
    # Cut after the client has seen words of the answer: so they come slowly. Words that nobody has
    # read when the connection breaks are lost with it, and the run mends that by itself.
    Scenario("cut", "-itl50-cut5x1"),
)

RECOVERIES = ("429", "500", "cut")
