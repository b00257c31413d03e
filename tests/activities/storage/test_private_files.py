"""Files that only their owner may read."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from polyvox.activities.storage.private_files import make_private, write_private

OTHER_PROCESS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("INSERT INTO kept VALUES (1)")
database.commit()
database.close()
"""


def test_a_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    """Without them another process takes itself for the last one and deletes the log."""
    file = tmp_path / "kept.db"
    make_private(file)
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE kept (number INTEGER)")
        database.execute("SELECT * FROM kept").fetchall()
        make_private(file)
        subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(file)], check=True)
        assert file.with_name("kept.db-wal").exists()
        assert database.execute("SELECT number FROM kept").fetchall() == [(1,)]


def test_a_file_is_made_private_whether_it_exists_or_not(tmp_path: Path) -> None:
    made, found = tmp_path / "made", tmp_path / "found"
    found.touch(0o644)
    for file in (made, found):
        make_private(file)
        assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_written_privately_is_private_whatever_was_there(tmp_path: Path) -> None:
    """Also with a umask that would let everybody read; a pipe is written as it is."""
    made, found = tmp_path / "made", tmp_path / "found"
    found.write_text("a longer text than the new one", "utf-8")
    found.chmod(0o666)
    umask = os.umask(0)
    try:
        for file in (made, found):
            write_private(file, b"secret")
            assert file.read_bytes() == b"secret"
            assert file.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(umask)
    write_private(Path("/dev/null"), b"secret")
    assert Path("/dev/null").stat().st_mode & 0o777 == 0o666
