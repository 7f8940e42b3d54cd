"""Submit a model of your own to a network on this machine, have it valued, and take it out again.

    python examples/submit_model.py [HOME]

The model is a Qwen2 over bytes with random weights, so it will not be paid much; put any folder in its place.
"""

import sys
import tempfile
from pathlib import Path

from transformers import Qwen2Config, Qwen2ForCausalLM

import taoray

NETWORK = Path(__file__).with_name("small.toml")
NAME = "newcomer"


def main() -> None:
    """A version is published, valued in the next epoch, and withdrawn."""
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else taoray.find_home(None, "small").folder
    if not (home / "ledger").exists():
        taoray.launch(NETWORK, epochs=1, home=home)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        made = taoray.submit(Path(folder), name=NAME, home=home)
    assert made.delivered is not None
    print(f"{made.name}: {made.state}, {made.delivered.bits_per_byte:.3f} bits per byte on the trial batch")

    run = taoray.launch(NETWORK, epochs=1, home=home)
    peer = next(neuron for neuron in run.neurons if neuron.name == NAME)
    print(f"uid {peer.uid}: {peer.status}, {peer.bits_per_byte:.3f} bits per byte, new {peer.new_bits:.4f}")

    print(f"withdrawn: {taoray.withdraw(NAME, home=home).state}")


def save_model(folder: Path) -> None:
    """Any decoder that transformers can save; 256 tokens and no tokenizer: it reads bytes."""
    config = Qwen2Config(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
