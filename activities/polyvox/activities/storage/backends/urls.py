"""The URLs of the stores: which there are, their defaults, and their mistakes."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_DATABASES = ("sqlite", "postgresql", "postgres")
_BLOBS = (*_DATABASES, "s3")


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Where the stores are: ``database`` the rows, ``blobs`` the blobs.

    ``index`` is the database with the index of the blobs if they are in a bucket.
    """

    database: str
    blobs: str
    index: str

    @property
    def is_shared(self) -> bool:
        """Whether several machines may use the database."""
        return _scheme(self.database) != "sqlite"

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database."""
        return _file(self.database)

    @property
    def blobs_file(self) -> Path | None:
        """The file of blobs in SQLite."""
        return _file(self.blobs)


def store_urls(data: Path, database: str | None = None, blobs: str | None = None) -> StoreUrls:
    """Return the URLs of the stores; those that are None have their defaults.

    The database is a file in the data folder by default; the blobs are in a file beside a file, and
    in the same database with a database server.
    """
    own_blobs = _file_url(data / "blobs.db")
    database = database or _file_url(data / "polyvox.db")
    beside = own_blobs if _scheme(database) == "sqlite" else database
    return StoreUrls(database, blobs or beside, index=beside)


def url_mistake(url: str, *, blobs: bool = False) -> str | None:
    """Return why a URL cannot be that of a store, None if it can. Does not repeat the URL."""
    known = _BLOBS if blobs else _DATABASES
    scheme = _scheme(url)
    examples = "postgresql://USER@HOST:5432/DATABASE or sqlite:////FOLDER/FILE.db"
    if scheme not in known:
        bucket = " or s3://BUCKET/PREFIX" if blobs else ""
        return f"is not a URL of a store that Polyvox knows. Use {examples}{bucket}"
    if scheme == "sqlite":
        return None if _file(url) else f"names no file. Use {examples}"
    if scheme == "s3":
        return None if urlsplit(url).netloc else "names no bucket. Use s3://BUCKET/PREFIX"
    return None if urlsplit(url).path.strip("/") else f"names no database. Use {examples}"


def _file_url(file: Path) -> str:
    return f"sqlite:///{file.absolute()}"


def _scheme(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


def _file(url: str) -> Path | None:
    if _scheme(url) != "sqlite":
        return None
    name = url.partition("///")[2]
    return Path(name) if name and name != ":memory:" else None
