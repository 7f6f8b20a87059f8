"""Rows of a data file or of GSM8K on the Hub, and their text fields; errors name the line."""

import csv
import glob
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

FILE_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")  # in any case


def records_of(file: Path) -> Iterator[tuple[int, str, dict]]:
    """The objects or rows of a file: (number, its place for messages, record).

    A file with none of FILE_ENDINGS is read as JSONL.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a file")
    try:
        content = file.read_bytes()
        text = "" if file.suffix.lower() == ".parquet" else content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"{file} can't be read ({error.strerror}); name a file that exists"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line} is not UTF-8; save the file as UTF-8") from None
    if not content.strip():
        raise ValueError(f"{file} is empty; give one JSON object a line")
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".parquet": _parquet_rows, ".json": _json_rows}
    for unit, number, record in readers.get(file.suffix.lower(), _json_lines)(file, text):
        where = f"{file}, {unit} {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{where} is not a JSON object; write {{...}}")
        yield number, where, record


def _json_lines(file: Path, text: str) -> Iterator[tuple[str, int, object]]:
    # not splitlines(): JSON allows other line separators inside its strings
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield "line", number, _json(line)


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, int, object]]:
    """The items of a list, or one object; a .json file that isn't one JSON value is JSONL."""
    content = _json(text)
    if content is None and text.lstrip().startswith("["):
        raise ValueError(f"{file} starts with [ but is not a valid JSON list; correct it")
    if content is None:
        yield from _json_lines(file, text)
    else:
        items = content if isinstance(content, list) else [content]
        yield from (("item", number, item) for number, item in enumerate(items, start=1))


def _json(text: str) -> object:
    """The value of a JSON text; None if it isn't valid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _csv_rows(file: Path, text: str) -> Iterator[tuple[str, int, dict]]:
    # not with datasets, which turns text into numbers: id "007" into 7, answer "0.10" into 0.1
    tab = file.suffix.lower() == ".tsv"
    rows = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if tab else ",", strict=True
    )
    try:
        rows.fieldnames = names = [name.strip() for name in rows.fieldnames]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{file} has two columns {twice[0]!r}; rename one")
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():
                told = f"{file}, row {number} doesn't have as many fields as the first line"
                raise ValueError(f"{told}; put text with commas or line breaks in double quotes")
            yield "row", number, row
    except csv.Error as error:
        told = f"{file} can't be read after line {rows.line_num} ({error})"
        raise ValueError(f"{told}; put text that contains quotes in double quotes") from None


def _parquet_rows(file: Path, text: str) -> Iterator[tuple[str, int, dict]]:
    try:
        import datasets  # here, because other files don't need it

        rows = datasets.load_dataset(
            "parquet", data_files=glob.escape(str(file)), split="train", streaming=True
        )
        for number, row in enumerate(rows, start=1):
            yield "row", number, {name: value for name, value in row.items() if value is not None}
    except Exception as error:  # pyarrow, pandas and datasets raise many kinds
        told = f"{file} can't be read as parquet ({type(error).__name__}: {error})"
        raise ValueError(f"{told}; write it again, or as CSV") from error


def hub_records(split: str, config: str) -> Iterator[tuple[int, str, dict]]:
    try:
        import datasets  # here, because reading a folder doesn't need it

        rows = datasets.load_dataset("openai/gsm8k", config, split=split)
    except Exception as error:  # no package, no network, or one of the Hub's many errors
        raise ValueError(
            f"GSM8K can't be loaded from the Hub ({type(error).__name__}); pass path= or set "
            "SGPO_GSM8K_DIR to a folder with its original files"
        ) from error
    for number, row in enumerate(rows, start=1):
        yield number, f"openai/gsm8k {split}, row {number}", dict(row)


def text_field(record: dict, field: str, where: str, needed: bool = True) -> str:
    """A field's text; ValueError if it is missing, blank or not valid text."""
    if field not in record and not needed:
        return ""
    if field not in record:
        raise ValueError(f"{where} has no field {field!r}; add it")
    value = record[field]
    if not isinstance(value, str):
        raise ValueError(
            f"{where}: {field!r} must be text, not {type(value).__name__}; write it as text"
        )
    if needed and not value.strip():
        raise ValueError(f"{where}: {field!r} is blank; fill it in")
    if re.search(r"[\ud800-\udfff]", value):
        raise ValueError(f"{where}: {field!r} holds half a character (\\ud800 to \\udfff); fix it")
    return value
