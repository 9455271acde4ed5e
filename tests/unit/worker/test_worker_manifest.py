"""The identity of content."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.worker.errors import BadArguments, BadData
from perennial.worker.manifest import Entry, Manifest, checked_path, hex_digits, manifest_of_folder

NAMES = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"], blacklist_characters="/"), min_size=1, max_size=8
)
PATHS = st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3).map("/".join)
ENTRIES = st.builds(
    Entry, PATHS, st.integers(0, 10**12), st.binary().map(lambda data: hashlib.sha256(data).hexdigest())
)


def test_the_digest_is_the_contracts(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two words").write_bytes(b"22")
    (tmp_path / "a").write_bytes(b"1")
    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"22").hexdigest()
    expected = hashlib.sha256(f"a 1 {one}\nb/two words 2 {two}\n".encode()).hexdigest()
    assert manifest_of_folder(tmp_path).digest == f"sha256:{expected}"


@given(st.lists(ENTRIES, max_size=6, unique_by=lambda entry: entry.path), st.randoms())
def test_the_order_of_files_does_not_matter_and_a_manifest_can_be_read_back(
    entries: list[Entry], chance: object
) -> None:
    shuffled = list(entries)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    manifest = Manifest.of(entries)
    assert Manifest.of(shuffled) == manifest
    assert Manifest.parse(manifest.text, manifest.digest) == manifest


@given(ENTRIES, ENTRIES)
def test_other_content_has_another_digest(first: Entry, second: Entry) -> None:
    assert (Manifest.of([first]).digest == Manifest.of([second]).digest) == (first == second)


def test_an_altered_manifest_is_refused() -> None:
    manifest = Manifest.of([Entry("a", 1, "0" * 64)])
    with pytest.raises(BadData, match="altered"):
        Manifest.parse(manifest.text.replace(b" 1 ", b" 2 "), manifest.digest)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../../b", "a\nb", "a//b", "a\u2028b", "\udc80"])
def test_paths_that_leave_the_folder_or_break_lines_are_refused(path: str) -> None:
    with pytest.raises(BadData, match="file name"):
        checked_path(path)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "g" * 64, "md5:" + "0" * 64, "../" + "0" * 64])
def test_digests_have_one_form(digest: str) -> None:
    with pytest.raises(BadArguments, match="64 hexadecimal digits"):
        hex_digits(digest)


def test_links_in_a_models_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadData, match="plain file"):
        manifest_of_folder(tmp_path)
