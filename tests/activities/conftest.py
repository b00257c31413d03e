"""The stores on which the tests of ``activities`` run: SQLite files and PostgreSQL databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyvox.activities.storage.backends.urls import StoreUrls, store_urls


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreUrls]:
    """The URLs of empty stores, once on each kind of database."""
    if request.param == "sqlite":
        yield store_urls(tmp_path)
        return
    with request.getfixturevalue("postgres").new_database() as database:
        yield store_urls(tmp_path, database.url)
