"""Text for a trial: prose, code, a table and letters of several scripts, in windows of any length.

Invariants: the windows are the same everywhere, but for the one that nobody can foretell.
"""

import os
import random
from pathlib import Path

SAMPLE = '''\
The byte is the unit: whatever a model reads, what it says is told in bits for each byte of the text, so that models
with unlike tokenizers can be compared. A window is a slice of a document; it may begin or end anywhere.

def mean(values, default=None):
    """The arithmetic mean of some numbers, or the default where there are none."""
    total, count = 0.0, 0
    for value in values:
        total += value
        count += 1
    return total / count if count else default

| city      | country | population |
|-----------|---------|-----------:|
| Zürich    | CH      |    443,037 |
| São Paulo | BR      | 11,451,245 |
| 東京      | JP      | 14,094,034 |
| Αθήνα     | GR      |    643,452 |

«Все счастливые семьи похожи друг на друга», naïve café, €5 and ½ of 😀; tabs\tand\r\nlines of Windows.

>>> mean([1, 2, 3.5])
2.1666666666666665
{"name": "taoray", "tags": ["models", "bits"], "nested": {"depth": 2, "empty": null}}
'''
WINDOWS = 4
STEP_BYTES = 131
"""Windows begin at unlike places, also within a character."""


def trial_windows(window_bytes: int) -> list[bytes]:
    """Windows of text, each `window_bytes` long."""
    text = SAMPLE.encode()
    whole = text * (2 + (window_bytes + WINDOWS * STEP_BYTES) // len(text))
    return [whole[begin : begin + window_bytes] for begin in range(0, WINDOWS * STEP_BYTES, STEP_BYTES)]


def trial_prefixes(window_bytes: int) -> tuple[list[bytes], list[int]]:
    """Prefixes of unlike lengths under `window_bytes`, and the byte after each."""
    windows = trial_windows(window_bytes)
    lengths = [max(1, (window_bytes - 1) * (part + 1) // WINDOWS) for part in range(WINDOWS)]
    prefixes = [window[:length] for window in windows for length in lengths]
    return prefixes, [window[length] for window in windows for length in lengths]


def unforeseen_window(window_bytes: int) -> bytes:
    """A window of this Python's own library, drawn by chance: a model that knows the trial's text does not know it."""
    chance = random.SystemRandom()
    text = b""
    while len(text) <= window_bytes:
        text += chance.choice(sorted(Path(os.__file__).parent.glob("*.py"))).read_bytes()
    begin = chance.randrange(len(text) - window_bytes)
    return text[begin : begin + window_bytes]
