import pickle

import pytest

from models.errors import ArchitectureError, ModelRefused, StoreError, TextError, TrainingError


@pytest.mark.parametrize(
    "error",
    [
        TextError("data.paths", "no such folder"),
        ArchitectureError("kind", "not known"),
        ModelRefused("pickle", "remove it"),
        StoreError("absent"),
        TrainingError("diverged"),
    ],
)
def test_an_error_travels_between_processes_whole(error):
    travelled = pickle.loads(pickle.dumps(error))
    assert type(travelled) is type(error)
    assert str(travelled) == str(error)
    assert vars(travelled) == vars(error)


def test_an_error_of_a_field_begins_with_the_field():
    assert str(TextError("data.paths", "no such folder")) == "data.paths: no such folder"
