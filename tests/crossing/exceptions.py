"""Where a recorded exchange does not cross as the rule says: each with its reason."""

from typing import Final

REFUSED_REQUESTS: Final[dict[tuple[str, str], str]] = {
    (
        "chat",
        "input_audio",
    ): "Only Chat providers hear; without the audio the question would be another one.",
    (
        "responses",
        "input_image.file_id",
    ): "A file stored at OpenAI cannot be reached by Chat or Messages.",
    (
        "chat",
        "file.file_id",
    ): "A file stored at OpenAI cannot be reached by Messages.",
    (
        "messages",
        "image.file_id",
    ): "A file stored at Anthropic cannot be reached by another provider.",
    (
        "messages",
        "document.file_id",
    ): "A file stored at Anthropic cannot be reached by another provider.",
    (
        "responses",
        "input_file.file_url",
    ): "Chat cannot fetch files; where it may, the server puts their data in before.",
    (
        "messages",
        "document.url",
    ): "Chat cannot fetch files; where it may, the server puts their data in before.",
}
"""Protocol of the client and field of a request that is refused with 400: why."""

NO_ANSWERS: Final[dict[str, str]] = {
    "test_openai_responses/test_background_mode": "A background response that was still running.",
    "test_openai_previous_response_id#0": "Made by hand, with a status that no response has.",
    "test_openai_responses_verbosity#0": "Made by hand, with a status that no response has.",
    "openai-error.1.chunks": "The provider's answer is an error.",
    "spliced-message-start.chunks": "A proxy spliced two answers into one stream.",
}
"""Recorded answers, by a part of their id, that do not decode to a reply."""

OTHER_WORDS: Final[dict[str, str]] = {
    "openai-shell-container.1.chunks": "Its deltas say other words than its own end: two takes.",
}
"""Recorded streams that contradict themselves, by a part of their id."""

UNTYPED: Final[dict[tuple[str, str], str]] = {
    (
        "chat",
        "custom",
    ): "The SDK's chunks have no custom calls, though OpenAI streams them so.",
}
"""Protocol of the client and kind of call that the SDK's types do not know."""
