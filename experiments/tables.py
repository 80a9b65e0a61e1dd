"""Data files: CSV, CSV.gz and Parquet into frames, with an error of its own for each kind of defect.

What counts as missing: the empty field, always. In a column that otherwise holds only numbers (or
dates, or True/False), also what programs write for a missing one: ``NA``, ``NaN``, ``null`` and their
like. In a column of text those words stay as they are, because ``None`` or ``NA`` may well be a category.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from experiments.errors import DataError
from experiments.files import write_atomic

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MISSING_NUMBERS = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "Null", "None", "none",
)  # fmt: skip
BLOCK_BYTES = 8 << 20
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def table_suffix(path: Path) -> str:
    """``.csv``, ``.csv.gz`` or ``.parquet``.

    Raises:
        DataError: The name ends otherwise, or is a folder's.
    """
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    hint = "Give a .csv, .csv.gz or .parquet file."
    if path.is_dir():
        raise DataError(f"{path} is a folder.", hint="Give the file itself: a .csv, .csv.gz or .parquet file.")
    if not path.suffix:
        raise DataError(f"{path}: the name has no ending that says what the file is.", hint=hint)
    raise DataError(f"{path}: files ending in {path.suffix!r} cannot be read.", hint=hint)


def find_table(folder: Path, stem: str) -> Path | None:
    """The file ``stem.csv``, ``stem.csv.gz`` or ``stem.parquet`` of a folder, or None.

    Raises:
        DataError: There are several.
    """
    found = [folder / f"{stem}{suffix}" for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} holds {' and '.join(file.name for file in found)}.", hint="Keep one of them.")
    return found[0] if found else None


def read_table(path: Path, *, text: Collection[str] = ()) -> pd.DataFrame:
    """A data file as a frame with plain dtypes and a RangeIndex.

    Whole numbers are int64 (float64 where some are missing), True/False are bool (float64 where some
    are missing), ISO dates are datetime64[us] without a zone (in UTC), everything else is text.

    Args:
        text: Columns to keep as text with their exact spelling; only the empty field is missing in them.

    Raises:
        DataError: The file is missing, empty, broken, or not what its name says.
    """
    if table_suffix(path) == ".parquet":
        table = _read_parquet(path)
        spelled = set(text)
    else:
        table = _read_csv(path, {name: pa.string() for name in text})
        spelled = set()
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        where = f"{path}: column '{name}'"
        columns[name] = _to_series(_as_text(column, where) if name in spelled else column, where)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def read_text(path: Path) -> pd.DataFrame:
    """A data file with every value as text, exactly as spelled; only the empty field is missing.

    Raises:
        DataError: As for ``read_table``.
    """
    table = read_raw(path)
    columns = {
        name: _to_series(_as_text(column, f"{path}: column '{name}'"), f"{path}: column '{name}'")
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def read_raw(path: Path) -> pa.Table:
    """A data file for copying rows: every CSV field as text with nothing missing, Parquet as it is.

    Raises:
        DataError: As for ``read_table``.
    """
    if table_suffix(path) == ".parquet":
        return _read_parquet(path)
    return _read_csv(path, dict.fromkeys(_header(path), pa.string()))


def write_raw(table: pa.Table, path: Path) -> None:
    """Write what ``read_raw`` gave, atomically, in the format that the name says."""
    suffix = table_suffix(path)
    if suffix == ".parquet":
        write_atomic(path, lambda file: parquet.write_table(table, file))
        return

    def write(file: BinaryIO) -> None:
        if suffix == ".csv":
            _write_csv(table, file)
        else:
            with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                _write_csv(table, packed)

    write_atomic(path, write)


def _write_csv(table: pa.Table, file: Any) -> None:
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(table.column_names)
    file.write(header.getvalue().encode())
    plain = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
    for batch in table.to_batches(max_chunksize=50_000):
        part = pa.BufferOutputStream()
        try:
            arrow_csv.write_csv(batch, part, plain)
        except pa.ArrowInvalid:
            # Some value holds a comma, a quote or a line break.
            quoted = io.StringIO()
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            csv.writer(quoted, lineterminator="\n").writerows(rows)
            file.write(quoted.getvalue().encode())
        else:
            file.write(part.getvalue())


def _read_parquet(path: Path) -> pa.Table:
    _readable(path)
    try:
        table = pa.table(parquet.ParquetFile(path).read())
        # Reading does not look at values: texts that are none, places in a dictionary that do not exist.
        table.validate(full=True)
        # Nor at the names of time zones.
        [getattr(kind, "tz", None) for kind in table.schema.types]
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file: {_first_sentence(error)}",
            hint="Write it again, or give a CSV file.",
        ) from None
    table = table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])
    return _checked(table, path)


def _read_csv(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    _readable(path)
    names = _header(path)
    # Arrow ends blocks at line breaks; a quoted field may hold one.
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    convert = arrow_csv.ConvertOptions(
        column_types=types,
        null_values=list(MISSING_NUMBERS),
        strings_can_be_null=False,
        true_values=["True"],
        false_values=["False"],
    )
    read = arrow_csv.ReadOptions(block_size=BLOCK_BYTES)
    try:
        table = arrow_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise _csv_defect(path, len(names), error) from None
    if any(pa.types.is_binary(field.type) for field in table.schema):
        raise _csv_defect(path, len(names), None)
    if _ends_in_line_break(table) and _odd_quotes(path):
        raise _unclosed_quote(path)
    return _checked(table, path)


def _ends_in_line_break(table: pa.Table) -> bool:
    """A quote that is never closed swallows the rest of the file, its last line break too."""
    if not table.num_rows or not _is_text(table.columns[-1].type):
        return False
    return "\n" in (table.columns[-1][-1].as_py() or "")


def _checked(table: pa.Table, path: Path) -> pa.Table:
    names = ["Unnamed: 0" if not name.strip() else name for name in table.column_names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: the column name '{twice[0]}' occurs {names.count(twice[0])} times.",
            hint="Give every column a name of its own.",
        )
    if not table.num_rows:
        raise DataError(f"{path} has a header but no rows.", hint="Give the file with the data.")
    return table.rename_columns(names)


def _readable(path: Path) -> None:
    """Refuse what is not a file with content, or is another kind of file than its name says."""
    if not path.exists():
        raise DataError(f"{path} does not exist.", hint="Check the path.")
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is not a file"
        raise DataError(f"{path} {kind}.", hint="Give the file itself.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}.", hint="Check its permissions.") from None
    if not start:
        raise DataError(f"{path} is empty.", hint="Download or write it again.")
    if start[:2] == b"PK":
        raise DataError(f"{path} is a zip archive.", hint="Unpack it first.")
    suffix = table_suffix(path)
    if suffix == ".csv" and start[:2] == b"\x1f\x8b":
        raise DataError(f"{path} is compressed with gzip.", hint=f"Rename it to {path.name}.gz.")
    if suffix == ".csv.gz" and start[:2] != b"\x1f\x8b":
        raise DataError(f"{path} is not compressed with gzip.", hint="Rename it to end in .csv.")
    if suffix == ".csv" and start == b"PAR1":
        raise DataError(f"{path} is a Parquet file.", hint="Rename it to end in .parquet.")


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _header(path: Path) -> list[str]:
    """The column names of a CSV, before anything else is parsed.

    Raises:
        DataError: There is no text, the header is not UTF-8, or the fields are not separated by commas.
    """
    _readable(path)
    if _CONTROL.search(_start(path).split(b"\n")[0]):
        raise _not_text(path)
    try:
        with _open(path) as file:
            lines = (line.decode("utf-8-sig") for line in file)
            names = next((row for row in csv.reader(lines) if row), None)
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        if _CONTROL.search(_start(path)):
            raise _not_text(path) from None
        raise DataError(f"{path} cannot be read: {error}", hint="Download or write it again.") from None
    if names is None:
        raise DataError(f"{path} is empty.", hint="Download or write it again.")
    if len(names) == 1:
        for sign, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if sign in names[0]:
                raise DataError(
                    f"{path}: the fields are separated by {word}, not commas.",
                    hint="Write it again with commas, e.g. pandas.read_csv(FILE, sep=...).to_csv(FILE, index=False).",
                )
    return names


def _csv_defect(path: Path, columns: int, error: Exception | None) -> DataError:
    """Read a broken CSV once more, slowly, to say what is wrong and where."""
    if _bad_byte(path) is not None:
        return _not_utf8(path)
    try:
        with _open(path) as file:
            reader = csv.reader(codecs.iterdecode(file, "utf-8-sig"), strict=True)
            for row in reader:
                if row and len(row) != columns:
                    return DataError(
                        f"{path}: line {reader.line_num} has {len(row)} fields where the header has {columns}.",
                        hint="Mend or remove that line; a comma inside a text needs quotes around it.",
                    )
    except csv.Error as defect:
        return DataError(f"{path}: line {reader.line_num}: {defect}.", hint="Look for a quote that is never closed.")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as defect:
        return DataError(f"{path} is cut off or damaged: {defect}", hint="Download or write it again.")
    return DataError(f"{path} cannot be read: {_first_sentence(error)}", hint="Write it again as plain CSV.")


def _odd_quotes(path: Path) -> bool:
    with _open(path) as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    return bool(quotes % 2)


def _unclosed_quote(path: Path) -> DataError:
    start = line = 1
    with _open(path) as file:
        reader = csv.reader(codecs.iterdecode(file, "utf-8-sig"))
        try:
            for _ in reader:
                start, line = line, reader.line_num + 1
        except csv.Error:
            # The swallowed text is longer than a field may be.
            start = line
    return DataError(f"{path}: a quote that opens in line {start} is never closed.", hint="Close or remove that quote.")


def _start(path: Path) -> bytes:
    """The first bytes (uncompressed) of what should be text; none when it begins as UTF-16 or cannot be read."""
    try:
        with _open(path) as file:
            start: bytes = file.read(4096)
    except (OSError, EOFError, zlib.error):
        return b""
    return b"" if start[:2] in _UTF16_MARKS else start


def _not_text(path: Path) -> DataError:
    return DataError(
        f"{path} is not text: it holds bytes that stand for no character.",
        hint="Give a CSV or Parquet file; text in UTF-16 is converted with `iconv -f UTF-16LE -t UTF-8`.",
    )


def _not_utf8(path: Path) -> DataError:
    if _CONTROL.search(_start(path)):
        return _not_text(path)
    offset = _bad_byte(path)
    with _open(path) as file:
        start = file.read(2)
    source = "UTF-16" if start in _UTF16_MARKS else "LATIN1"
    where = f"the byte at offset {offset:,}" if offset is not None else "a byte"
    return DataError(
        f"{path} is not UTF-8: {where} is not part of any letter.",
        hint=f"Convert it, e.g. `iconv -f {source} -t UTF-8 {path.name} > utf8_{path.name}`.",
    )


def _bad_byte(path: Path) -> int | None:
    """Offset of the first byte (uncompressed) that is not UTF-8, or None."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        with _open(path) as file:
            blocks: Iterator[bytes] = iter(lambda: file.read(1 << 20), b"")
            for block in itertools.chain(blocks, [b""]):
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    return position - pending + error.start
                position += len(block)
    except (OSError, EOFError, zlib.error):
        return None
    return None


def _first_sentence(error: object) -> str:
    return str(error).splitlines()[0].rstrip(".") + "." if str(error) else "no reason given."


def _as_text(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Values spelled as Python spells them (``True``, ``1``, ``0.5``); whole floats without a point."""
    column = _plain(column)
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    if pa.types.is_null(column.type) or _is_text(column.type):
        return column.cast(pa.string())
    try:
        return pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unusable(column.type, where) from None


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _to_series(column: pa.ChunkedArray, where: str) -> pd.Series[Any]:
    column = _plain(column)
    kind, types = column.type, pa.types
    if types.is_null(kind):
        return pd.Series(np.full(len(column), np.nan))
    if _is_text(kind):
        return _text_series(column)
    if types.is_boolean(kind):
        return pd.Series(column.to_numpy() if not column.null_count else _floats(column.cast(pa.uint8())))
    if types.is_decimal(kind) or types.is_float16(kind):
        return pd.Series(_floats(column))
    if types.is_integer(kind) or types.is_floating(kind):
        return pd.Series(column.to_numpy() if not column.null_count else _floats(column))
    if types.is_date(kind) or types.is_timestamp(kind):
        naive = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.timestamp("us"))
        return pd.Series(naive.to_numpy())
    if types.is_time(kind):
        return _text_series(column.cast(pa.string()))
    raise _unusable(kind, where)


def _unusable(kind: pa.DataType, where: str) -> DataError:
    return DataError(
        f"{where} holds values of the type {kind}, which no experiment can use.",
        hint="Remove the column, or turn it into numbers or text.",
    )


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    # Beyond 2**53 whole numbers lose their last digits.
    values: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
    return values


def _text_series(column: pa.ChunkedArray) -> pd.Series[Any]:
    empty = pc.equal(column, "")
    if pc.any(empty).as_py():
        column = pc.if_else(empty, None, column)
    values = column.cast(pa.large_string()).to_pandas()
    kind: Literal["str", "object"] = "str" if pd.__version__ >= "3" else "object"
    series: pd.Series[Any] = values.astype(kind)
    return series
