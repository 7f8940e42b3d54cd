"""The windows of an evaluation, cut to whole characters, for a tokenizer reads text and no bytes.

Invariants: the same corpus, seed and settings give the same windows; each keeps its document, stratum and fold.
"""

from cluster.study.settings import Study
from models.text.corpus import Corpus
from models.text.windows import Windows, draw_windows


def draw_study(corpus: Corpus, settings: Study) -> tuple[Windows, list[bytes]]:
    """The windows, and the whole characters of each."""
    seed = settings.seed.to_bytes(8, "big")
    windows = draw_windows(corpus, seed, windows=settings.windows, window_bytes=settings.window_bytes)
    return windows, [whole_characters(text_T.tobytes()) for text_T in windows.text_WT]


def whole_characters(text: bytes) -> bytes:
    """A slice of UTF-8 without the parts of characters at its ends."""
    return text.decode("utf-8", "ignore").encode()
