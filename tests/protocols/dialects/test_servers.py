"""The table of known servers."""

from dataclasses import replace
from inspect import signature
from pathlib import Path

import pytest

from polyvox.gateway.cli.commands.demo import simulate
from polyvox.protocols.dialects.dialect import FACTS, FULL, OPENAI_FIELDS, PLAIN, Server, changed
from polyvox.protocols.dialects.servers import SERVERS, dialect_of, server_at
from polyvox.worker.settings.file import ServerSettings


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://team.openai.azure.com/openai/v1", "azure"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://API.MISTRAL.AI/v1", "mistral"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.deepseek.com/anthropic/v1", "deepseek"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini"),
        ("https://api.x.ai/v1", "xai"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.moonshot.cn/v1", "moonshot"),
        ("https://api.z.ai/api/paas/v4", "zai"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "alibaba"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("http://127.0.0.1:11434/v1", "ollama"),
        ("http://[::1]:11434/v1", "ollama"),
        ("http://gpu-box:1234/v1", "lmstudio"),
        ("http://192.168.1.7:30000/v1", "sglang"),
        ("http://127.0.0.1:8585/v1", "polyvox"),
        ("http://localhost:8484/v1", "polyvox"),
        ("https://models.example.com:8585/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("https://models.example.com:11434/v1", None),
        ("https://api.mistral.ai.example.com/v1", None),
        ("https://notapi.mistral.ai/v1", None),
        ("https://example.com/api.mistral.ai/v1", None),
    ],
)
def test_a_server_is_known_by_its_host_or_its_local_port(base_url: str, name: str | None) -> None:
    server = server_at(base_url)
    assert (None if server is None else server.name) == name


@pytest.mark.parametrize("server", SERVERS.values(), ids=lambda server: server.name)
def test_every_fact_that_is_not_plain_has_a_source_with_a_date(server: Server) -> None:
    if server.dialect == FULL:
        return
    sourced = {fact for source in server.sources for fact in source.facts}
    stated = {f for f in FACTS if getattr(server.dialect, f) != getattr(PLAIN, f)} - {"server"}
    assert stated <= sourced
    assert sourced <= set(FACTS)
    for source in server.sources:
        assert source.page.startswith("https://")
        assert source.read.count("-") == 2


@pytest.mark.parametrize("server", SERVERS.values(), ids=lambda server: server.name)
def test_no_field_is_both_accepted_and_refused(server: Server) -> None:
    assert not server.dialect.accepts & server.dialect.refuses
    assert server.dialect.accepts <= OPENAI_FIELDS


def test_polyvox_is_known_by_the_ports_it_listens_on_by_default() -> None:
    ports = (ServerSettings().port, signature(simulate).parameters["port"].default)
    for port in ports:
        assert dialect_of(f"http://127.0.0.1:{port}/v1", {}) == FULL


def test_an_unknown_server_gets_the_plain_form() -> None:
    assert dialect_of("https://models.example.com/v1", {}) == PLAIN
    assert not PLAIN.is_known


def test_an_operator_names_the_server_behind_an_address() -> None:
    at = "http://127.0.0.1:8000/v1"
    assert dialect_of(at, {"server": "vllm"}) == SERVERS["vllm"].dialect
    assert dialect_of("https://api.mistral.ai/v1", {"server": "unknown"}) == PLAIN


def test_an_operator_changes_single_facts() -> None:
    mistral = SERVERS["mistral"].dialect
    changes = {"accepts": ["store"], "refuses": ["top_p"], "call_ids": "any", "efforts": ["high"]}
    fitted = dialect_of("https://api.mistral.ai/v1", changes)
    assert fitted == replace(
        mistral,
        accepts=(mistral.accepts | {"store"}) - {"top_p"},
        refuses=(mistral.refuses - {"store"}) | {"top_p"},
        call_ids="any",
        efforts=("high",),
    )
    assert changed(PLAIN, {}) == PLAIN


def test_the_page_of_dialects_names_every_server_and_every_fact() -> None:
    page = (Path(__file__).parents[3] / "docs" / "dialects.md").read_text(encoding="utf-8")
    assert [name for name in (*SERVERS, *FACTS) if f"`{name}`" not in page] == []
