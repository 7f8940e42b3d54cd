"""Train one model together, among two cheats, and say what each member's updates were worth.

    python examples/train_together.py [FOLDER]

The network lives in the folder `choir` of FOLDER. Run it again and training goes on from the last block.
"""

import sys
from pathlib import Path

import taoray

NETWORK = Path(__file__).parents[1] / "ray_configs" / "cohort.toml"


def main() -> None:
    """Members register in the first epoch and send their first updates in the second; the third applies them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("taoray-home")
    run = taoray.launch(NETWORK, epochs=3, home=folder / "choir", overrides=["training.steps=12"])
    for record in run.epochs:
        for round_ in record.rounds:
            if not round_.tokens:
                print(f"epoch {record.epoch}: {round_.cohort} begins with the next")
                continue
            print(f"epoch {record.epoch}: {round_.sent_bytes:,} bytes sent instead of {round_.dense_bytes:,}")
            for member in round_.members:
                value = "nothing" if member.bits is None else f"{member.bits:+.5f} bits per byte"
                outcome = f"{member.code}: {member.sentence}" if member.code else "taken"
                print(f"  {member.name:<10} {value:<24} {outcome}")
    for cohort in taoray.status(run.home).cohorts:
        print(f"{cohort.name} is at {cohort.parameters[:16]}; its pay is divided by {cohort.sums_bits}")
    print(f"verified to height {taoray.verify(run.home).height}; the figure is {run.plot}")


if __name__ == "__main__":
    main()
