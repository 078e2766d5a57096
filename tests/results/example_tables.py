"""Rows as a sweep writes them, and everything that reads them."""

import datetime

import duckdb
import pandas as pd
import polars as pl

from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.records import flatten
from darl.results.tables import load

EXPERIMENT = Experiment(image_size=32, model=EncoderConfig(patch_size=8))


def row(trial: str = "aa", attempt: int = 0, **values: object) -> dict[str, object]:
    record = flatten(EXPERIMENT.to_record())
    started = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    own = {"trial_id": trial, "attempt": attempt, "status": "finished", "started_at": started, "probe_top1": 0.5}
    return record | {"config": EXPERIMENT.to_json()} | own | values


def readers(folder: str) -> dict[str, pd.DataFrame]:
    """The table in a folder as pandas, polars, duckdb and `darl.results.load` read it."""
    return {
        "pandas": pd.read_parquet(folder),
        "polars": pl.scan_parquet(f"{folder}/*.parquet").collect().to_pandas(),
        "polars folder": pl.read_parquet(folder).to_pandas(),
        "duckdb": duckdb.sql(f"select * from read_parquet('{folder}/*.parquet')").to_arrow_table().to_pandas(),
        "darl": load(folder),
    }
