"""``python -m tests.attack.figures``: a table of each flood's effect on another client's stream.

The tests assert ratios, because absolute times depend on the machine's load. These are the figures
themselves, meaningful only on an idle machine. Names of attacks as arguments select these.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.attack import floods, flow_floods
from tests.attack.flooded import Flooded, disturbed, flooded

ATTACKS: dict[str, Callable[[Flooded], object]] = {
    "one header of 100 MB": floods.one_huge_header,
    "3 million headers": floods.many_headers,
    "a path of 100 MB": floods.a_long_path,
    "100 MB of trailers": floods.many_trailers,
    "one trailer of 100 MB": floods.a_long_trailer,
    "a chunk extension of 100 MB": floods.a_long_chunk_extension,
    "700 half-open connections": floods.half_open_connections,
    "a text of 60 MB": floods.a_large_text,
    "a text of 60 MB, all escapes": floods.a_large_text_of_escapes,
    "a million messages, chat": floods.many_messages,
    "a million messages, messages": lambda s: floods.many_messages(s, path="messages"),
    "a million messages, responses": lambda s: floods.many_messages(s, path="responses"),
    "as many messages as allowed": floods.the_most_messages,
    "as many messages, responses": lambda s: floods.many_messages(s, 20_000, "responses"),
    "as many messages, messages": lambda s: floods.many_messages(s, 20_000, "messages"),
    "as many parts as allowed": floods.many_parts,
    "as many parts, messages": lambda s: floods.many_parts(s, "messages"),
    "as many parts, responses": lambda s: floods.many_parts(s, "responses"),
    "50,000 tools": floods.many_tools,
    "250,000 unknown fields": floods.unknown_fields,
    "six texts of 60 MB at once": floods.large_texts_at_once,
    "30 million values": floods.many_values,
    "20 million objects": floods.many_objects,
    "30 million empty strings": floods.many_strings,
    "4 MB of commas in a text": floods.a_table_in_a_text,
    "an answer of 300 MB": floods.a_huge_answer,
    "an answer of 300 MB, streamed": lambda s: floods.a_huge_answer(s, stream=True),
    "an answer of 30 MB": lambda s: floods.a_huge_answer(s, 30 * floods.MIB),
    "one event of 300 MB": floods.a_huge_event,
    "10 slow readers": floods.slow_readers,
    "256 KB of code fences": flow_floods.unclosed_fences,
    "a command that prints": flow_floods.a_command_that_prints,
    "2,000 URLs": flow_floods.many_urls,
    "40 clients that list": flow_floods.listings_at_once,
}


def main() -> None:
    wanted = sys.argv[1:]
    print(f"{'attack':34} {'undisturbed':>11} {'attacked':>9} {'RSS before':>10} {'peak':>6}")
    with tempfile.TemporaryDirectory() as folder, flooded(Path(folder)) as server:
        for name, attack in ATTACKS.items():
            if wanted and not any(word in name for word in wanted):
                continue
            found = disturbed(server, attack)
            told = found.answer.status if isinstance(found.answer, floods.Told) else found.answer
            print(
                f"{name:34} {found.undisturbed_s * 1000:8.0f} ms {found.attacked_s * 1000:6.0f} ms "
                f"{found.before_mib:6.0f} MiB {found.peak_mib:4.0f} MiB  -> {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
