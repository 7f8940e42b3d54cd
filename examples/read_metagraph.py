"""Read a network's history with pyarrow alone: each epoch's metagraph is a Parquet file in its home.

    python examples/read_metagraph.py HOME

taoray need not be installed where this runs.
"""

import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

ONE_Q31 = 2**31
RAO_PER_TAO = 10**9


def main() -> None:
    """Who earned what over all epochs, and the incentive of the last one."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]) / "ledger" / "metagraph"
    if not folder.is_dir():
        sys.exit(f"{folder} does not exist: has an epoch been closed in this home?")
    history = ds.dataset(folder, format="parquet").to_table()
    last = history.filter(pc.field("epoch") == pc.max(history["epoch"]).as_py())
    paid = history.group_by("uid").aggregate([("emission_rao", "sum")])
    paid_rao = dict(zip(paid["uid"].to_pylist(), paid["emission_rao_sum"].to_pylist(), strict=True))
    for neuron in last.sort_by("uid").to_pylist():
        incentive, paid_tao = neuron["incentive_q31"] / ONE_Q31, paid_rao[neuron["uid"]] / RAO_PER_TAO
        print(f"{neuron['uid']:>3}  {neuron['name']:<14} {incentive:>6.1%}  {paid_tao:>12,.2f} TAO")
    print(f"{len(pc.unique(history['epoch']))} epochs, {pc.sum(history['emission_rao']).as_py() // RAO_PER_TAO:,} TAO")


if __name__ == "__main__":
    main()
