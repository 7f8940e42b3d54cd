import random

import pytest

from models.text.data import Data
from models.text.prepare import prepare_corpus


def write_documents(folder, name, documents, length_bytes=600):
    """Fill `folder/name` with text files whose content follows from their names."""
    top = folder / name
    top.mkdir(parents=True)
    for number in range(documents):
        words = random.Random(f"{name} {number}")
        text = " ".join(words.choice(["stake", "epoch", "bonds", "peer", "bits"]) for _ in range(length_bytes))
        (top / f"{number}.txt").write_text(f"{name} {number} {text}"[: length_bytes + words.randrange(200)])


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name, documents in [("plays", 200), ("laws", 150), ("notes", 12)]:
        write_documents(folder, name, documents)
    return folder


@pytest.fixture(scope="session")
def corpus(text_folder, tmp_path_factory):
    return prepare_corpus(Data(paths=(str(text_folder),)), tmp_path_factory.mktemp("corpus"), window_bytes=64)
