"""What a host does to teach: what the collective expects of shared pages of one stratum, for whoever trains on them.

Invariants:
* a lesson is complete in itself, and two runs of it write the same file: a host may die at any instant;
* the mixture is the ledger's: the baseline, and the members with their weights in the stratum; a member that cannot be
  asked byte by byte is left out, and the others' weights count in proportion.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.errors import MemoryFull, ModelRefused, StoreError, TrainingError
from models.host.library import Library
from models.host.reader import ByteReader
from models.text.corpus import Corpus
from models.text.windows import draw_pages
from models.train.distil import Teaching, expected_bytes, keep_likeliest, save_teaching

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of one stratum, and who says what is expected there.

    Attributes:
        page_seed: from which the pages are drawn.
        members: versions, by manifest, each with its weight; baseline: the weight of the byte frequencies.
        top, floor: what is kept of each distribution.
    """

    stratum: str
    page_seed: bytes
    pages: int
    page_bytes: int
    members: tuple[tuple[bytes, int], ...]
    baseline: int
    top: int
    floor: float


@dataclass(frozen=True)
class LessonReceipt:
    """What the driver learns of a lesson: its pages, and of each member that was left out, why."""

    pages: int
    left_out: dict[bytes, str]


def write_lesson(lesson: Lesson, path: Path, library: Library, corpus: Corpus) -> LessonReceipt:
    """Write a lesson to `path`, whole or not at all. Raises as `give_lesson` does."""
    teaching, left_out = give_lesson(lesson, library, corpus)
    save_teaching(path, teaching, lesson.stratum)
    return LessonReceipt(len(teaching.text_PT), left_out)


def give_lesson(lesson: Lesson, library: Library, corpus: Corpus) -> tuple[Teaching, dict[bytes, str]]:
    """What the collective expects; and, of each member that was left out, why.

    Raises:
        TextError: there is no such text.
        TrainingError: no member is left.
    """
    text_PT = draw_pages(
        corpus, lesson.page_seed, strata=[lesson.stratum], pages=lesson.pages, page_bytes=lesson.page_bytes
    )
    baseline_V = np.exp(corpus.baseline_log_probability()).astype(np.float32)
    sum_PLV = np.tile(lesson.baseline * baseline_V, (len(text_PT), text_PT.shape[1] - 1, 1))
    total = lesson.baseline
    left_out: dict[bytes, str] = {}
    for manifest, weight in lesson.members:
        try:
            expected_PLV = _ask(library, manifest, text_PT)
        except (MemoryFull, ModelRefused, StoreError) as error:
            left_out[manifest] = str(error)
            continue
        sum_PLV += np.float32(weight) * expected_PLV
        total += weight
    if len(left_out) == len(lesson.members):
        raise TrainingError(f"no member of the collective can be asked about {lesson.stratum}")
    return keep_likeliest(text_PT, sum_PLV / np.float32(total), top=lesson.top, floor=lesson.floor), left_out


def _ask(library: Library, manifest: bytes, text_PT: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    hosted = library.hosted(manifest)
    if not isinstance(hosted.reader, ByteReader):
        raise ModelRefused("tokenizer", "it reads tokens, and is taught to models that read bytes")
    if hosted.context_tokens < text_PT.shape[1] - 1:
        raise ModelRefused("context", f"it reads {hosted.context_tokens} bytes, and pages have {text_PT.shape[1]}")
    expected_PLV = expected_bytes(hosted, text_PT)
    if not np.isfinite(expected_PLV).all():
        raise ModelRefused("probability", "it says what is no number")
    return expected_PLV
