"""Train three small models on the spot, and value them as one collective.

    python examples/evaluate_models.py [HOME]

Two learn from all training text with another seed each, one from code alone. Models of any tokenizer and origin are
valued the same way: `taoray.evaluate` takes folders in the layout of Hugging Face.
"""

import sys
import tempfile
from pathlib import Path

import taoray
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import draw_pages
from models.train.local import train_steps
from models.train.settings import TrainSettings

ARCHITECTURE = Architecture("llama", hidden=64, layers=2, heads=4)
SETTINGS = TrainSettings(steps=120, batch=8, page_bytes=128, learning_rate=5e-3)
WINDOWS, WINDOW_BYTES = 192, 129


def train_model(corpus: Corpus, folder: Path, seed: int, strata: list[str] | None) -> Path:
    """A model that has seen some training text of these strata (None: of all), saved into `folder`."""
    model = build_model(ARCHITECTURE, seed)
    pages_PT = draw_pages(
        corpus,
        seed.to_bytes(8, "big"),
        strata=strata,
        pages=SETTINGS.steps * SETTINGS.batch,
        page_bytes=SETTINGS.page_bytes,
    )
    loss = train_steps(model, None, pages_PT, SETTINGS, steps_done=0).loss_bits_per_byte
    save_model(model, folder)
    print(f"{folder.name}: {loss:.2f} bits per byte in training")
    return folder


def main() -> None:
    """Train, evaluate, and say what each brings."""
    home = Path(sys.argv[1] if len(sys.argv) > 1 else "taoray-home")
    # The text that evaluate takes by default, in the folder where it looks for it: it is prepared once.
    corpus = prepare_corpus(Data(), home / "evaluate" / "text", window_bytes=WINDOW_BYTES, minimum_windows=WINDOWS)
    with tempfile.TemporaryDirectory() as folder:
        models = [
            train_model(corpus, Path(folder, name), seed, strata)
            for seed, (name, strata) in enumerate({"first": None, "second": None, "coder": ["code", "tests"]}.items())
        ]
        overrides = [f"windows={WINDOWS}", f"window_bytes={WINDOW_BYTES}"]
        evaluation = taoray.evaluate(models, home=home, overrides=overrides)
    for model in evaluation.models:
        print(
            f"{model.name}: {model.bits_per_byte:.3f} bits per byte alone, share {model.share_bits:.3f}, "
            f"new {model.new_bits:.3f} ± {model.new_bits_se:.3f}"
        )
    print(f"collective: {evaluation.collective_bits_per_byte:.3f}, best single: {evaluation.best_bits_per_byte:.3f}")


if __name__ == "__main__":
    main()
