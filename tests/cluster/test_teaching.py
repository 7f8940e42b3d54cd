import msgspec
import pytest

from cluster.teaching import digest_of, plan_lessons
from ledger.entries import Collective, CollectiveMember
from ledger.extrinsics import BASELINE_UID
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.train.settings import TrainSettings

SETTINGS = TrainSettings(distil_weight=1.0, distil_pages=40, page_bytes=64)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    text = tmp_path_factory.mktemp("text")
    for stratum in ("letters", "poems"):
        (text / stratum).mkdir()
        for number in range(200):
            (text / stratum / f"{number}.txt").write_text(f"number {number} of the {stratum}: " + "la " * 90)
    folder = tmp_path_factory.mktemp("corpus")
    return prepare_corpus(Data(paths=(str(text),)), folder, window_bytes=65, minimum_windows=24)


def collective(strata: tuple[str, ...], **weights: tuple[int, ...]) -> Collective:
    uids = {"baseline": BASELINE_UID, "ada": 4, "grace": 7}
    members = tuple(
        CollectiveMember(uid=uids[name], manifest=name.encode().ljust(32, b"."), weights=own)
        for name, own in weights.items()
    )
    return Collective(strata=strata, members=members)


def test_each_stratum_with_a_member_has_a_lesson_and_they_share_the_pages(corpus: Corpus) -> None:
    strata = (*corpus.strata[:2], "gone")
    mixed = collective(strata, ada=(3, 1, 8), grace=(0, 2, 0), baseline=(5, 5, 0))
    lessons = plan_lessons(mixed, corpus, SETTINGS, seed=b"s" * 32)
    assert [lesson.stratum for lesson in lessons] == [*corpus.strata[:2]]
    assert sum(lesson.pages for lesson in lessons) == 40
    assert [len(lesson.members) for lesson in lessons] == [1, 2]
    assert [lesson.baseline for lesson in lessons] == [5, 5]
    assert lessons[0].members == ((b"ada".ljust(32, b"."), 3),)
    assert len({lesson.page_seed for lesson in lessons}) == 2


def test_the_baseline_alone_teaches_nothing(corpus: Corpus) -> None:
    assert not plan_lessons(collective(corpus.strata[:1], baseline=(9,)), corpus, SETTINGS, seed=b"s" * 32)


def test_a_lesson_is_named_by_all_that_it_is(corpus: Corpus) -> None:
    mixed = collective(corpus.strata[:1], ada=(3,), baseline=(5,))
    lesson = plan_lessons(mixed, corpus, SETTINGS, seed=b"s" * 32)[0]
    assert digest_of(lesson) == digest_of(plan_lessons(mixed, corpus, SETTINGS, seed=b"s" * 32)[0])
    assert digest_of(lesson) != digest_of(plan_lessons(mixed, corpus, SETTINGS, seed=b"t" * 32)[0])
    assert digest_of(lesson) != digest_of(msgspec.structs.replace(lesson, page_bytes=65))
