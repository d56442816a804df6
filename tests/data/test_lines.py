import gzip

import pytest

from recstack.data.lines import integer, lines
from recstack.errors import DataError


def test_plain_and_gzipped_are_the_same(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_bytes(b"one\r\ntwo\nthree")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found = [(1, "one\r\n"), (2, "two\n"), (3, "three")]
    assert list(lines(plain)) == list(lines(packed)) == found


def test_files_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n" * 9000 + b"\xff\n")
    source = lines(path)
    assert next(source) == (1, "fine\n")
    with pytest.raises(DataError, match=r"a.txt:9001: .*0xff"):
        list(source)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert list(lines(path)) == [(1, "one\n"), (2, "\ufefftwo\n")]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent.txt:1: cannot read: No such file or directory$"):
        list(lines(tmp_path / "absent.txt"))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"line\n" * 50_000)[:-20])
    with pytest.raises(DataError, match=r"cut.gz:\d+: "):
        list(lines(cut))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "+1", "2147483648", "1_0", "²", "9" * 30])
def test_integers_are_plain_and_small(text):
    assert integer("2147483647", "f", 1, "a") == 2**31 - 1
    with pytest.raises(DataError, match=r"f:7: expected an integer in \[0, 2\^31\), got .* - at a"):
        integer(text, "f", 7, "a")
