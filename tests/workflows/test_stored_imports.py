"""Stored flow versions import these paths for ever: docs/decisions/0026."""

from importlib import import_module

import pytest

from polyvox.workflows.confinement.surface import names_of

MODULES = {
    "polyvox.workflows": {
        *(
            "Branch",
            "Check",
            "Checked",
            "Comparison",
            "Conversation",
            "Cost",
            "File",
            "FinishReason",
            "FitsTools",
        ),
        *(
            "Flow",
            "FlowError",
            "FollowsSchema",
            "Image",
            "Limits",
            "Message",
            "Model",
            "ModelError",
        ),
        *("MountedTool", "Options", "OutputFormat", "Panel", "Params", "Part", "Reasoning"),
        *("Refusal", "Reply", "Run", "Satisfies", "Source", "Text", "Tool", "ToolCall"),
        *("ToolChoice", "ToolResult", "Usage", "Verified", "assistant", "flow"),
        "points_by_heading",
        *("schema_complaints", "tool_result", "transcribed", "user"),
    },
    "polyvox.workflows.checks": {"REPAIR_PROMPT", "VERIFIER_PROMPT"},
    "polyvox.workflows.conversation": {
        *("Conversation", "File", "Image", "Json", "Message", "Part", "Source", "Text"),
        *("ToolCall", "ToolResult", "user"),
    },
    "polyvox.workflows.errors": {"ModelError"},
    "polyvox.workflows.events": {"fold"},
    "polyvox.workflows.flow": {"Flow", "FlowError", "Model", "Params", "flow"},
    "polyvox.workflows.language": {"LANGUAGES", "language_of"},
    "polyvox.workflows.linear_patterns": {"PatternError", "linear_pattern"},
    "polyvox.workflows.media": {"is_pdf", "media_digest", "media_in", "with_media_replaced"},
    "polyvox.workflows.reply": {"Reply", "Usage"},
    "polyvox.workflows.run": {"Run"},
    "polyvox.workflows.session": {"CLIENT_HEADERS", "seen_headers"},
    "polyvox.workflows.testing": {"After", "Rehearsal"},
    "polyvox.workflows.turn_rules": {"HeaderPatterns", "TurnRule", "headers_match"},
}


@pytest.mark.parametrize("module", MODULES)
def test_what_a_stored_flow_imports_is_where_it_was(module: str) -> None:
    """And a confined flow may import it."""
    there = vars(import_module(module))
    assert MODULES[module] <= there.keys()
    assert MODULES[module] <= names_of(module)
