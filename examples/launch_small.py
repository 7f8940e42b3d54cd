"""Run a small network from Python, and say who was paid for what.

    python examples/launch_small.py [HOME]

Run it again on the same home and it goes on from the last block.
"""

import sys
from pathlib import Path

import taoray

NETWORK = Path(__file__).with_name("small.toml")


def main() -> None:
    """Two epochs: in the first nobody has trained yet, in the second those who did are paid."""
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    run = taoray.launch(NETWORK, epochs=2, home=home)
    for record in run.epochs:
        print(f"epoch {record.epoch}: {record.collective_bits_per_byte:.3f} bits per byte, new {record.new_bits:.4f}")
    for neuron in run.neurons:
        if neuron.kind == "hosted":
            print(f"{neuron.name:<12} account {neuron.account_bits:.4f} bits, paid {neuron.emission_rao / 1e9:.2f} TAO")
    print(f"verified to height {taoray.verify(run.home).height}; the home is {run.home}")


if __name__ == "__main__":
    main()
