import msgspec
import numpy as np
import pytest

from actors.miner import make_version
from actors.teacher import Lesson, give_lesson, write_lesson
from models.errors import TrainingError
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.library import Library
from models.store import Store
from models.text.corpus import Corpus
from models.text.windows import draw_pages
from models.train.distil import expected_bytes, load_teaching


@pytest.fixture(scope="module")
def corpus(corpus_folder):
    return Corpus.open(corpus_folder)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return Library(Store(tmp_path_factory.mktemp("store")), device="cpu", capacity_bytes=1 << 26)


@pytest.fixture(scope="module")
def versions(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    for kind in ("gpt2", "llama"):
        save_model(build_model(Architecture(kind, 16, 1, 2, context=64), 3), folder / kind)
    save_model(build_model(Architecture("llama", 16, 1, 2, context=32), 3), folder / "short")
    return {kind: library.store.put_folder(folder / kind).hash for kind in ("gpt2", "llama", "short")}


def lesson_for(corpus, members, baseline=0, pages=3):
    return Lesson(
        stratum=corpus.strata[0],
        page_seed=b"p" * 32,
        pages=pages,
        page_bytes=64,
        members=members,
        baseline=baseline,
        top=128,
        floor=0.0,
    )


def test_the_mixture_is_that_of_the_weights(corpus, library, versions):
    lesson = lesson_for(corpus, ((versions["gpt2"], 1 << 30), (versions["llama"], 1 << 29)), baseline=1 << 29)
    teaching, left_out = give_lesson(lesson, library, corpus)
    text = draw_pages(corpus, b"p" * 32, strata=[corpus.strata[0]], pages=3, page_bytes=64)
    said = [expected_bytes(library.hosted(versions[name]), text) for name in ("gpt2", "llama")]
    mixture = 0.5 * said[0] + 0.25 * said[1] + 0.25 * np.exp(corpus.baseline_log_probability())
    likeliest = np.take_along_axis(mixture, teaching.byte_PLK.astype(np.int64), axis=-1)
    assert not left_out
    assert np.array_equal(teaching.text_PT, text)
    assert np.allclose(teaching.probability_PLK, likeliest, atol=1e-6)
    assert np.allclose(likeliest[..., 0], mixture.max(-1), atol=1e-6)


def test_who_cannot_be_asked_is_left_out_and_named(corpus, library, versions):
    absent = b"a" * 32
    members = ((versions["gpt2"], 4), (absent, 2), (versions["short"], 1))
    teaching, left_out = give_lesson(lesson_for(corpus, members), library, corpus)
    alone, _ = give_lesson(lesson_for(corpus, members[:1]), library, corpus)
    assert set(left_out) == {absent, versions["short"]}
    assert left_out[versions["short"]].startswith("context")
    assert np.array_equal(teaching.byte_PLK, alone.byte_PLK)
    with pytest.raises(TrainingError, match="no member"):
        give_lesson(lesson_for(corpus, members[1:], baseline=9), library, corpus)


def test_a_lesson_is_written_alike_by_whoever_writes_it(corpus, library, versions, tmp_path):
    lesson = lesson_for(corpus, ((versions["llama"], 1),))
    receipts = [write_lesson(lesson, tmp_path / name, library, corpus) for name in ("a", "b")]
    assert [receipt.pages for receipt in receipts] == [3, 3]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_peer_follows_the_lessons_of_its_strata(corpus, corpus_folder, library, versions, tmp_path, make_job_of):
    lesson = lesson_for(corpus, ((versions["gpt2"], 1),), pages=8)
    write_lesson(lesson, tmp_path / "lesson", library, corpus)
    job = make_job_of("ada", versions["llama"], "train", bytes(32))
    settings = msgspec.structs.replace(job.settings, steps=4, distil_weight=2.0)
    own, other = (lesson.stratum,), corpus.strata[1:2] or ("none",)

    def made(number, **changes):
        changed = msgspec.structs.replace(job, settings=settings, **changes)
        folder = tmp_path / str(number)
        return make_version(changed, store=library.store, corpus=corpus, folder=folder, device="cpu")

    taught = made(1, strata=own, teaching=(str(tmp_path / "lesson"),))
    again = made(2, strata=own, teaching=(str(tmp_path / "lesson"),))
    alone = made(3, strata=own)
    assert taught == again
    assert taught.manifest != alone.manifest
    assert load_teaching([tmp_path / "lesson"], other) is None
