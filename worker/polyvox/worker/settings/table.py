"""The base of the tables of ``polyvox.toml``."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table: unknown keys and values of another type are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
