"""Files are whole or absent, and what goes wrong names the path that was meant."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tanzaku.errors import TanzakuError
from tanzaku.files import atomic_folder, check_writable, errors_naming, write_atomically


def test_an_atomic_write_names_the_file_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "folder", "text")
    assert caught.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_error_that_safetensors_hides_is_the_systems(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(NotADirectoryError) as caught, errors_naming(tmp_path / "model"):
        save_file({"a": np.zeros(1)}, tmp_path / "model" / "a.safetensors")
    assert caught.value.filename == str(tmp_path / "model")


def test_the_check_before_long_work_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_can_be_written_and_not_replaced(small_disk: Path) -> None:
    check_writable(small_disk)
    check_writable(small_disk / "new", replaced=True)
    (small_disk.parent / "link").symlink_to(small_disk)
    for folder in (small_disk, small_disk.parent / "link"):
        with pytest.raises(OSError, match="this is a mount point, which can't be replaced; name a folder in it"):
            check_writable(folder, replaced=True)
        with pytest.raises(OSError, match="mount point"), atomic_folder(folder):
            pytest.fail("it begins")
    assert small_disk.is_dir()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user")
def test_the_folder_above_one_that_is_replaced_must_be_writable() -> None:
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        (out := Path(above, "out")).mkdir()
        os.chown(out, 65534, -1)
        os.seteuid(65534)
        try:
            check_writable(out)
            with pytest.raises(OSError, match="this folder can't be written"):
                check_writable(out, replaced=True)
        finally:
            os.seteuid(0)


def test_a_folder_takes_the_place_of_a_full_one_only_where_that_is_wished_and_all_went_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with atomic_folder(out) as beside:
        (beside / "first").touch(mode=0o600)
    with pytest.raises(TanzakuError, match="already exists and is not empty"), atomic_folder(out):
        pass
    with pytest.raises(ZeroDivisionError), atomic_folder(out, replace=True) as beside:
        raise ZeroDivisionError
    assert [path.name for path in out.iterdir()] == ["first"]
    assert (out / "first").stat().st_mode & 0o777 == 0o644
    with atomic_folder(out, replace=True) as beside:
        (beside / "second").touch()
    assert [path.name for path in out.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_can_not_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (out := tmp_path / "out").mkdir()
    (out / "first").touch()
    rename = Path.rename
    done: list[Path] = []

    def interrupted(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) == 2:  # after the old folder has been put aside
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(out, replace=True) as beside:
        (beside / "second").touch()
    assert [path.name for path in out.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_that_write_the_same_folder_do_not_share_what_is_not_ready(tmp_path: Path) -> None:
    """Processes of two containers may have the same number."""
    out = tmp_path / "out"
    with atomic_folder(out, replace=True) as first, atomic_folder(out, replace=True) as second:
        (first / "first").touch()
        (second / "second").touch()
        assert [path.name for path in first.iterdir()] == ["first"]
    assert [path.name for path in out.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
