"""Reading data files: dtypes, what is missing, and one clear error per kind of defect."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.errors import DataError
from experiments.tables import find_table, read_raw, read_table, read_text, write_raw


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def defect(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert caught.value.hint, "every defect comes with a cure"
    return caught.value


def test_columns_get_plain_dtypes(tmp_path: Path) -> None:
    frame = read_table(
        write(tmp_path / "t.csv", "i,f,b,d,s\n1,1.5,True,2020-01-31,x\n2,2,False,2020-02-29 10:00:00,y\n")
    )
    assert [str(dtype) for dtype in frame.dtypes[:3]] == ["int64", "float64", "bool"]
    assert frame["d"].tolist() == [pd.Timestamp("2020-01-31"), pd.Timestamp("2020-02-29 10:00")]
    assert frame["s"].tolist() == ["x", "y"]
    assert isinstance(frame.index, pd.RangeIndex)


def test_na_is_missing_among_numbers_and_a_word_among_words(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "t.csv", "n,w,t\n1,NA,True\nNA,None,\nNaN,brick,False\n,,NA\n"))
    assert frame["n"].isna().tolist() == [False, True, True, True]
    assert frame["w"].isna().tolist() == [False, False, False, True]
    assert frame["w"].tolist()[:3] == ["NA", "None", "brick"]
    assert frame["t"].tolist()[0] == 1.0 and np.isnan(frame["t"].iloc[1]), "True/False with gaps are numbers"


def test_a_column_without_any_value_is_numeric_and_missing(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "t.csv", "a,b\n,1\nNA,2\n"))
    assert frame["a"].dtype == np.float64 and frame["a"].isna().all()


def test_columns_asked_for_as_text_keep_their_spelling(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,y,x\n007,1.0,1\n008,NA,2\n")
    frame = read_table(path, text=["id", "y", "no_such_column"])
    assert frame["id"].tolist() == ["007", "008"]
    assert frame["y"].tolist() == ["1.0", "NA"]


def test_quoted_commas_quotes_line_breaks_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b'\xef\xbb\xbfa,b\n1,"x, ""y""\nz"\n2,\xc3\xa9\n')
    frame = read_table(path)
    assert list(frame.columns) == ["a", "b"]
    assert frame["b"].tolist() == ['x, "y"\nz', "é"]


def test_clock_times_are_text_and_zoned_stamps_are_utc(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "t.csv", "c,z\n10:20:30,2020-01-01T02:00:00+02:00\n11:00:00,\n"))
    assert frame["c"].tolist() == ["10:20:30", "11:00:00"]
    assert frame["z"].iloc[0] == pd.Timestamp("2020-01-01") and pd.isna(frame["z"].iloc[1])


def test_compressed_and_parquet_files_read_the_same(tmp_path: Path) -> None:
    text = "id,x,s\n1,0.5,a\n2,,b\n"
    plain = read_table(write(tmp_path / "t.csv", text))
    packed = read_table(write(tmp_path / "t.csv.gz", gzip.compress(text.encode(), mtime=0)))
    plain.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(plain, packed)
    pd.testing.assert_frame_equal(plain, read_table(tmp_path / "t.parquet"))


def test_parquet_values_are_spelled_as_python_spells_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({"b": [True, False], "i": [1, 2], "f": [1.0, 2.5], "c": pd.Categorical(["u", "v"])})
    frame.to_parquet(tmp_path / "t.parquet")
    text = read_text(tmp_path / "t.parquet")
    assert text.to_numpy().tolist() == [["True", "1", "1", "u"], ["False", "2", "2.5", "v"]]
    assert read_table(tmp_path / "t.parquet")["c"].tolist() == ["u", "v"]


def test_large_whole_numbers_with_gaps_are_floats(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n{2**53 + 3},1\n,2\n")
    column = read_table(tmp_path / "t.csv")["a"]
    assert column[0] == float(2**53 + 3) and np.isnan(column[1])


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [(b"bbbb", b"\xff" * 4), (b"L\x15\x04", b"L\x15\x00"), (b"name", b"\xff" * 4)],
    ids=["letters", "dictionary", "name"],
)
def test_damaged_values_of_a_parquet_file_are_said(tmp_path: Path, sound: bytes, damaged: bytes) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"name": pd.Categorical(["aaaa", "bbbb"])}).to_parquet(path, compression=None)
    written = path.read_bytes()
    assert sound in written
    path.write_bytes(written.replace(sound, damaged, 1))
    for read in (read_table, read_text):
        with pytest.raises(DataError, match="not a readable Parquet file"):
            read(path)


def test_parquet_index_columns_of_pandas_are_left_out(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2, 3]})[lambda f: f.a > 1].to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == ["a"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_rows_are_copied_as_spelled(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / "s.csv", 'id,x,s\n007,1.50,"a, b"\n008,NA,\n009,1e3,é\n')
    table = read_raw(source).take([2, 0])
    write_raw(table, tmp_path / f"t{suffix}")
    content = (tmp_path / f"t{suffix}").read_bytes()
    text = gzip.decompress(content) if suffix.endswith("gz") else content
    assert text.decode() == 'id,x,s\n009,1e3,é\n007,1.50,"a, b"\n'


def test_find_table_knows_three_formats_and_refuses_two_at_once(tmp_path: Path) -> None:
    assert find_table(tmp_path, "train") is None
    write(tmp_path / "train.csv.gz", b"")
    assert find_table(tmp_path, "train") == tmp_path / "train.csv.gz"
    write(tmp_path / "train.parquet", b"")
    with pytest.raises(DataError, match=r"train\.csv\.gz and train\.parquet"):
        find_table(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "is empty"),
        ("t.csv", b"a,b\n", "header but no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "'a' occurs 2 times"),
        ("t.csv", b"a,b\n1,2\n3\n4,5\n", "line 3 has 1 fields where the header has 2"),
        ("t.csv", b'a,b\n1,"x\ny"\n3,4,5\n', "line 4 has 3 fields where the header has 2"),
        ("t.csv", b'a,b\n0,1\n1,"2\n3,4\n', "a quote that opens in line 3 is never closed"),
        ("t.csv", b"a,b\n1,x\n2,\xe9t\xe9\n", "not UTF-8: the byte at offset 10"),
        ("t.csv", b"\xe9,b\n1,2\n", "not UTF-8: the byte at offset 0"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("t.csv", b"a;b\n1;2\n", "separated by semicolons"),
        ("t.csv", bytes(range(128)) * 9, "is not text"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not text"),
        ("t.csv.gz", gzip.compress(b"SQLite format 3\x00\tand so on", mtime=0), "is not text"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "is not text"),
        ("t.csv", b"a\tb\n1\t2\n", "separated by tabs"),
        ("t.csv", b"PK\x03\x04 and so on", "zip archive"),
        ("t.csv", gzip.compress(b"a\n1\n", mtime=0), "compressed with gzip"),
        ("t.csv.gz", b"a\n1\n", "not compressed"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 50_000, mtime=0)[:-60], "cut off or damaged"),
        ("t.parquet", b"a,b\n1,2\n", "not a readable Parquet file"),
        ("t.parquet", b"", "is empty"),
        ("t.xlsx", b"anything", "'.xlsx' cannot be read"),
    ],
)
def test_each_defect_has_its_own_message(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = write(tmp_path / name, content)
    error = defect(path)
    assert said in error.message
    assert str(path) in error.message


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "does not exist" in defect(tmp_path / "t.csv").message
    assert "no ending" in defect(tmp_path / "t").message
    for name in ("d.csv", "d"):
        (tmp_path / name).mkdir()
        assert defect(tmp_path / name).message == f"{tmp_path / name} is a folder."


def test_nested_parquet_columns_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"a": [[1], [2, 3]]}).to_parquet(tmp_path / "t.parquet")
    assert "column 'a'" in defect(tmp_path / "t.parquet").message


def test_utf16_hint_says_how_to_convert(tmp_path: Path) -> None:
    assert "iconv -f UTF-16" in defect(write(tmp_path / "t.csv", "a,b\n1,2\n".encode("utf-16"))).hint


def test_a_parquet_column_that_has_no_spelling_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"id": [1, 2], "y": [[1], [2, 3]]}).to_parquet(tmp_path / "t.parquet")
    for read in (read_text, lambda path: read_table(path, text=["y"])):
        with pytest.raises(DataError, match=r"column 'y' holds values of the type list"):
            read(tmp_path / "t.parquet")


def test_a_gzip_cut_in_the_middle_of_a_letter_is_cut_off(tmp_path: Path) -> None:
    data = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\n\xe0\x12\x00\x08\x08\x08\x10\x07\x06\x00\x01"
    assert "cut off or damaged" in defect(write(tmp_path / "t.csv.gz", data)).message


def test_a_column_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    said = defect(write(tmp_path / "t.csv", "\x1b[2Jx,\x1b[2Jx\n1,2\n"))
    assert "\x1b" not in f"{said}{said.message}"
