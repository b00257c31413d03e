"""The data folder is created, and checked by writing into it."""

import os
from pathlib import Path

import pytest

from polyvox.activities.storage.data_folder import (
    DataFolderUnusable,
    data_folder_mistake,
    open_to_others,
    require_writable,
)

as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")


def test_a_folder_that_does_not_exist_is_created_for_its_owner(tmp_path: Path) -> None:
    """Whatever the umask is."""
    umask = os.umask(0)
    try:
        require_writable(tmp_path / "deep" / "data")
    finally:
        os.umask(umask)
    assert open_to_others(tmp_path / "deep" / "data") is None
    assert list((tmp_path / "deep" / "data").iterdir()) == []


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    assert data_folder_mistake(tmp_path / "deep" / "data") is None
    assert data_folder_mistake(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/proc/foo", ""),
        ("/proc/foo/bar", ""),
        ("/sys/foo", ""),
        ("{file}", "is not a folder"),
        ("{file}/data", "is not a folder"),
        ("{link}", ""),
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, place: str, why: str
) -> None:
    """The check of `polyvox doctor` finds what a start finds."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/proc/foo")
    data = Path(place.format(file=tmp_path / "file", link=tmp_path / "link"))
    with pytest.raises(DataFolderUnusable) as refused:
        require_writable(data)
    said = str(refused.value)
    assert said.startswith(f"The data folder {str(data)!r} cannot be used (")
    assert why in said
    assert said.count("\n") == 0
    assert why in (data_folder_mistake(data) or "nothing wrong")


@as_root
@pytest.mark.parametrize("name", ["", "data"])
def test_a_read_only_folder_is_refused(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderUnusable, match="Permission denied"):
        require_writable(tmp_path / name)
    assert data_folder_mistake(tmp_path / name) == "Permission denied"


def test_a_folder_that_others_can_list_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert open_to_others(tmp_path) == "755"
