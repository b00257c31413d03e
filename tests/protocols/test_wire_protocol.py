"""What the records say about their protocols."""

import pytest

from polyvox.protocols.table import PROTOCOLS


@pytest.mark.parametrize(
    ("protocol", "header"),
    [
        ("chat", {"authorization": "Bearer test-key"}),
        ("messages", {"x-api-key": "test-key"}),
        ("responses", {"authorization": "Bearer test-key"}),
    ],
)
def test_a_provider_gets_its_key_in_the_header_of_its_protocol(
    protocol: str, header: dict[str, str]
) -> None:
    assert PROTOCOLS[protocol].authorize("test-key") == header
