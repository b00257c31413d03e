"""Server-sent events, split out of a body wherever the network cut it.

Format: WHATWG HTML, "Server-sent events".
"""

from polyvox.workflows.errors import ModelError

Frame = tuple[str | None, bytes]
"""One server-sent event: its ``event:`` name, if any, and its data."""

_BOM = b"\xef\xbb\xbf"

_MIB = 1024 * 1024

_LONGEST_FRAME_BYTES = 64 * _MIB


class FrameSplitter:
    """Splits a body into server-sent events, wherever the network cut it.

    Lines end in LF, CRLF or CR and nothing else (JSON may hold U+2028). Comments and unknown
    fields are skipped, several ``data:`` lines are joined by LF, a leading BOM is dropped. An event
    of more than ``most_bytes`` is ModelError("too_large").
    """

    def __init__(self, most_bytes: int = _LONGEST_FRAME_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()
        self._begun = False
        self._held_cr = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that ``chunk`` completes."""
        is_alone = self._begun and not self._rest and not self._held_cr
        if is_alone and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            # The hot path: whole events.
            return _frames(chunk[:-2].split(b"\n\n"))
        if not self._begun:
            chunk = bytes(self._rest) + chunk
            self._begun = len(chunk) >= len(_BOM) or not _BOM.startswith(chunk)
            self._rest = bytearray() if self._begun else bytearray(chunk)
            if not self._begun:
                return []
            chunk = chunk.removeprefix(_BOM)
        if self._held_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        # Only the new bytes are searched: an image in one event comes in hundreds of chunks.
        ends = b"\n\n" in chunk or (chunk[:1] == b"\n" and self._rest[-1:] == b"\n")
        self._rest += chunk
        blocks: list[bytes] = []
        if ends:
            *blocks, rest = bytes(self._rest).split(b"\n\n")
            self._rest = bytearray(rest)
        if len(self._rest) > self._most_bytes:
            raise ModelError(
                "too_large",
                f"The provider sent an event that is longer than {self._most_bytes // _MIB} MiB. "
                "It was cut off; server.max_answer_mib in polyvox.toml sets the limit.",
                status=502,
            )
        return _frames(blocks)

    def finish(self) -> list[Frame]:
        """Return the last event if the body ended after one of its lines, not inside it."""
        rest, self._rest = bytes(self._rest), bytearray()
        if not rest.endswith(b"\n") and not self._held_cr:
            return []
        frame = _frame(rest)
        return [] if frame is None else [frame]

    def _with_lf(self, chunk: bytes) -> bytes:
        """Return ``chunk`` with LF line ends; a CR at its end may be half a CRLF and waits."""
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _frames(blocks: list[bytes]) -> list[Frame]:
    return [frame for block in blocks if (frame := _frame(block)) is not None]


def _frame(block: bytes) -> Frame | None:
    """Return the event of a block of lines, None if it has no data."""
    if block.startswith(b"data: ") and b"\n" not in block:
        # The hot path: an event of a single line.
        return None, block[6:]
    name: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode(errors="replace")
        elif line == b"data":
            data.append(b"")
    if not data:
        return None
    return name, data[0] if len(data) == 1 else b"\n".join(data)
