"""Random values of our own, for properties that must hold for any of them."""

from hypothesis import strategies as st

from polyvox.workflows.conversation import (
    Conversation,
    File,
    Image,
    Message,
    Options,
    OutputFormat,
    Reasoning,
    Refusal,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

# Lone surrogates cannot come in JSON from a client and cannot be stored as UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["x" * 1023, "y" * 1024, "z" * 5000, '{"$polyvox.blob": "no"}', "\u2028\u0000é"]
)
NAMES = st.sampled_from(["read", "write", "type", "$polyvox.blob"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES | TEXTS, inner, max_size=2),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)
SOURCES = st.builds(Source, st.just("image/png"), data=TEXTS) | st.builds(Source, url=TEXTS)
TEXT_PARTS = st.builds(Text, TEXTS)
CALLS = st.builds(ToolCall, TEXTS, NAMES, TEXTS, st.sampled_from(["function", "custom"]))
IMAGES = st.builds(Image, SOURCES, st.none() | st.just("high"))
RESULTS = st.builds(
    ToolResult, TEXTS, st.lists(TEXT_PARTS | IMAGES, max_size=2).map(tuple), st.booleans()
)
PARTS = (
    TEXT_PARTS
    | CALLS
    | IMAGES
    | RESULTS
    | st.builds(Refusal, TEXTS)
    | st.builds(File, SOURCES, st.none() | TEXTS)
    | st.builds(
        Reasoning,
        TEXTS,
        st.none() | TEXTS,
        st.sampled_from([None, "chat", "responses", "messages"]),
        st.booleans(),
    )
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    st.lists(PARTS, max_size=3).map(tuple),
)
TOOLS = st.builds(Tool, NAMES, st.none() | TEXTS, st.none() | OBJECTS)
OPTIONS = st.builds(
    Options,
    max_tokens=st.none() | st.integers(0, 9),
    temperature=st.none() | st.just(0.0) | st.just(0.5),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    tool_choice=st.none() | st.builds(ToolChoice, st.just("tool"), NAMES),
    parallel_tool_calls=st.none() | st.booleans(),
    format=st.none() | st.builds(OutputFormat, st.just("json_schema"), OBJECTS),
)
CONVERSATIONS = st.builds(
    Conversation,
    st.lists(MESSAGES, max_size=4).map(tuple),
    st.none() | MESSAGES,
    st.lists(TOOLS, max_size=3).map(tuple),
    OPTIONS,
    st.just(()) | st.just((("anthropic-beta", "x"),)),
)
