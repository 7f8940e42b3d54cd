"""Read a network's history: each epoch's metagraph is a Parquet file in its home, which Polars reads, and pyarrow.

    python examples/read_metagraph.py HOME

taoray need not be installed where this runs.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

ONE_Q31 = 2**31
RAO_PER_TAO = 10**9


def main() -> None:
    """Who earned what over all epochs, and the incentive of the last one."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]) / "ledger" / "metagraph"
    if not folder.is_dir():
        sys.exit(f"{folder} does not exist: has an epoch been closed in this home?")
    rows = with_polars(folder) if importlib.util.find_spec("polars") else with_pyarrow(folder)
    for row in rows:
        incentive, paid_tao = row["incentive_q31"] / ONE_Q31, row["paid_rao"] / RAO_PER_TAO
        print(f"{row['uid']:>3}  {row['name']:<14} {incentive:>6.1%}  {paid_tao:>12,.2f} TAO  {row['epochs']} epochs")


def with_polars(folder: Path) -> list[dict[str, Any]]:
    """By uid: name and incentive at the last close, what was paid in all, and over how many epochs."""
    import polars as pl

    history = pl.scan_parquet(folder / "*.parquet").sort("epoch")
    totals = history.group_by("uid").agg(
        pl.col("name", "incentive_q31").last(),
        pl.col("emission_rao").sum().alias("paid_rao"),
        pl.len().alias("epochs"),
    )
    return totals.sort("uid").collect().to_dicts()


def with_pyarrow(folder: Path) -> list[dict[str, Any]]:
    """The same."""
    import pyarrow.dataset as ds

    history = ds.dataset(folder, format="parquet").to_table().sort_by("epoch")
    totals = history.group_by("uid", use_threads=False).aggregate(
        [("name", "last"), ("incentive_q31", "last"), ("emission_rao", "sum"), ("epoch", "count")]
    )
    names = {
        "name_last": "name",
        "incentive_q31_last": "incentive_q31",
        "emission_rao_sum": "paid_rao",
        "epoch_count": "epochs",
    }
    renamed = totals.rename_columns([names.get(name, name) for name in totals.column_names])
    return renamed.sort_by("uid").to_pylist()


if __name__ == "__main__":
    main()
