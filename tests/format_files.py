"""The same rows as every kind of file that Loren reads."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def json_list(rows: Rows) -> bytes:
    return json.dumps(list(rows), ensure_ascii=False, indent=2).encode()


def zst(data: bytes) -> bytes:
    import zstandard

    return zstandard.compress(data)


def csv_table(rows: Rows, delimiter: str = ",") -> bytes:
    """Lists and objects as JSON text, as pandas' users write them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [row.get(name, "") for name in columns]
        writer.writerow([json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict) else cell for cell in cells])
    return out.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), out, row_group_size=7)
    return out.getvalue()


FILES: dict[str, Callable[[Rows], bytes]] = {
    "rows.jsonl": jsonl,
    "rows.jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "rows.jsonl.zst": lambda rows: zst(jsonl(rows)),
    "rows.json": json_list,
    "rows.json.gz": lambda rows: gzip.compress(json_list(rows)),
    "rows.csv": csv_table,
    "rows.csv.zst": lambda rows: zst(csv_table(rows)),
    "rows.tsv": lambda rows: csv_table(rows, "\t"),
    "rows.parquet": parquet,
}


def write(folder: Path, name: str, rows: Rows) -> Path:
    path = folder / name
    path.write_bytes(FILES[name](rows))
    return path
