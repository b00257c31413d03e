"""Which processes share their work with others."""

from pathlib import Path

import pytest

from polyvox.activities.storage.deployment_key import DEPLOYMENT_KEY
from polyvox.worker.hosting.roles import shared_key
from polyvox.worker.settings.settings import load_settings

ENVIRON = {DEPLOYMENT_KEY: "k" * 32}
CLUSTER = "127.0.0.1:7233"
SHARED = "postgresql://user@127.0.0.1/polyvox"


@pytest.mark.parametrize(
    ("engine", "database", "shares"),
    [
        (CLUSTER, SHARED, True),
        (CLUSTER, None, False),  # nobody else sees what it stores
        (None, None, False),
    ],
)
def test_a_replica_shares_its_work_if_others_have_its_stores(
    tmp_path: Path, engine: str | None, database: str | None, shares: bool
) -> None:
    """One that is alone knows at its start that its predecessor is dead."""
    settings = load_settings(None, tmp_path, environ={}, engine_address=engine, database=database)
    assert (shared_key(settings, ENVIRON, "replica") is not None) == shares
