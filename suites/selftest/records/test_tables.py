"""If these fail, a query over checks counts wrong ones, or reads text where a number is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.cli import main
from harness.records import write_table
from harness.verdicts import LABELS, Run
from suites.selftest.extras import needs

needs("records", "pyarrow")
needs("test", "duckdb", "pandas")

import duckdb  # noqa: E402
import pandas  # noqa: E402
import pyarrow.parquet  # noqa: E402


@pytest.fixture(scope="module")
def table(red: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("table") / "checks.parquet"
    assert write_table(red, target) == len(red.checks)
    return target


def test_duckdb_reads_every_check_as_a_typed_row(red: Run, table: Path) -> None:
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT count(*), count(DISTINCT id) FROM '{table}'").fetchone()
        assert rows == (len(red.checks),) * 2
        types = dict(
            database.execute(
                f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{table}')"
            ).fetchall()
        )
        assert {types[name] for name in ("id", "layer", *LABELS)} == {"VARCHAR"}
        assert {types[name] for name in ("headroom_db", "snr_db", "gate_rtol")} == {"DOUBLE"}
        assert {types[name] for name in ("gating", "waived")} == {"BOOLEAN"}
        failed = database.execute(
            f"SELECT id FROM '{table}' WHERE gating AND verdict = 'fail' AND NOT waived ORDER BY id"
        ).fetchall()
    assert [name for (name,) in failed] == sorted(check.id for check in red.failing)


def test_pandas_reads_the_numbers_that_the_run_has(red: Run, table: Path) -> None:
    frame = pandas.read_parquet(table).set_index("id")
    assert len(frame) == len(red.checks)
    for check in red.checks:
        row, outcome = frame.loc[check.id], check.outcome
        assert row["verdict"] == check.verdict.value
        assert row["gating"] == check.gating
        for name, value in (
            ("headroom_db", outcome.headroom_db),
            ("snr_db", outcome.metrics.get("snr_db")),
            ("gate_min_snr_db", check.gate.min_snr_db if check.gate else None),
        ):
            missing = value is None or math.isnan(value)
            assert math.isnan(row[name]) if missing else row[name] == value, (check.id, name)
        for name in LABELS:
            text = check.labels.get(name)
            assert pandas.isna(row[name]) if text is None else row[name] == text


def test_identical_tensors_stay_infinite_and_nothing_becomes_zero(table: Path) -> None:
    snr = pandas.read_parquet(table)["snr_db"]
    assert (snr == math.inf).any()
    assert not (snr == 0).any()


def test_the_file_says_which_run_it_is_of(red: Run, table: Path) -> None:
    about = json.loads(pyarrow.parquet.read_schema(table).metadata[b"parity"])
    assert about["verdict"] == "fail"
    assert about["provenance"]["versions"]["torch"] == "2.13.0"


def test_the_command_writes_it_without_a_page(red: Run, tmp_path: Path) -> None:
    run, target = tmp_path / "run.json", tmp_path / "checks.parquet"
    run.write_text(red.to_json())
    assert main(["report", str(run), "--parquet", str(target)]) == 0
    assert pyarrow.parquet.read_metadata(target).num_rows == len(red.checks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checks.parquet", "run.json"]
