import contextlib
import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.data.archive import extract_archive
from tanzaku.errors import DataError


def member(
    name: str, content: bytes = b"x", *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def extract(archive: Path, folder: Path, **limits: int) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    extract_archive(archive, folder, **limits)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar", "w:"), ("odd.bin", "w:gz")]
)
def test_files_and_folders_come_out(tmp_path: Path, name: str, mode: str) -> None:
    folder, _ = member("text", kind=tarfile.DIRTYPE)
    archive = write_tar(
        tmp_path / name, (folder, b""), member("text/a.txt", b"one"), member("text/b/c.txt", b"two"), mode=mode
    )
    assert extract(archive, tmp_path / "out") == {"text/a.txt": b"one", "text/b/c.txt": b"two"}


@pytest.mark.parametrize(
    "name",
    ["../outside", "/tmp/outside", "a/../../outside", "..", "C:\\outside", "C:/outside", "..\\outside", "\\\\host\\x"],
)
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member(name))
    with pytest.raises(DataError, match="would leave the folder"):
        extract(archive, tmp_path / "in")
    assert {path.name for path in tmp_path.rglob("*")} == {"a.tar.gz", "in"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member("link", kind=kind, link="../secret"), member("link/x"))
    with pytest.raises(DataError, match="neither a plain file nor a folder"):
        extract(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_modes_and_owners_are_not_taken_over(tmp_path: Path) -> None:
    info, content = member("run.sh")
    info.mode = 0o6777
    extract(write_tar(tmp_path / "a.tar", (info, content), mode="w:"), tmp_path / "out")
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o6111 == 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_members": 2}, "more than 2 members"),
        ({"max_file_bytes": 99_999}, "has 100,000 bytes, more than the 99,999"),
        ({"max_total_bytes": 100_000}, "unpacks to more than 100,000 bytes"),
    ],
)
def test_every_size_is_bounded(tmp_path: Path, limits: dict[str, int], message: str) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member("a"), member("b", b"\0" * 100_000), member("c"))
    with pytest.raises(DataError, match=message):
        extract(archive, tmp_path / "out", **limits)


def test_a_bomb_in_a_header_is_bounded_too(tmp_path: Path) -> None:
    info, content = member("a")
    info.pax_headers = {"comment": "x" * 5_000_000}
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        extract(write_tar(tmp_path / "a.tar.gz", (info, content)), tmp_path / "out", max_total_bytes=1_000_000)


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member("a", b"first"), member("./a", b"second"))
    with pytest.raises(DataError, match="comes twice"):
        extract(archive, tmp_path / "out")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar.gz", member("a", bytes(range(256)) * 400)).read_bytes()
    for content in (b"", b"no tar", whole[:-20], whole[:30], gzip.compress(b"no tar either" * 100)):
        (tmp_path / "b.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match="damaged or no tar archive"):
            extract(tmp_path / "b.tar.gz", tmp_path / "out")
        for left in (tmp_path / "out").iterdir():
            left.unlink()


NAMES = st.lists(st.sampled_from(["..", ".", "a", "b", "", "/", "C:", "\\", "～"]), min_size=1, max_size=5).map(
    "/".join
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(members=st.lists(st.tuples(NAMES, KINDS, NAMES), max_size=4))
def test_no_member_of_a_hostile_archive_leaves_the_folder(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes, str]]
) -> None:
    base = tmp_path_factory.mktemp("hostile")
    archive = write_tar(
        base / "a.tar", *(member(name, kind=kind, link=link) for name, kind, link in members), mode="w:"
    )
    (base / "deep" / "out").mkdir(parents=True)
    with contextlib.suppress(DataError):
        extract(archive, base / "deep" / "out")
    inside = base / "deep" / "out"
    for path in base.rglob("*"):
        assert not path.is_symlink()
        assert path in (archive, base / "deep", inside) or path.is_relative_to(inside)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(place=st.integers(0, 1023), byte=st.integers(0, 255))
def test_a_flipped_byte_gives_files_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    base = tmp_path_factory.mktemp("flipped")
    archive = write_tar(base / "a.tar", member("a/b", b"content"), mode="w:")
    content = bytearray(archive.read_bytes())
    content[place] = byte
    archive.write_bytes(content)
    with contextlib.suppress(DataError):  # either outcome is right, any other error is not
        extract(archive, base / "out")
