"""Headers of safetensors, against the format's own library."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from models.errors import ModelRefused
from models.intake.tensors import Tensor, read_tensors
from tests.models.intake.building import write_tensors

SAVED = save(
    {"a": np.zeros((2, 3), np.float32), "b.weight": np.ones(5, np.float16), "é": np.zeros((0, 4), np.float64)},
    metadata={"format": "pt"},
)


def ours(path: Path) -> set[str] | None:
    try:
        return set(read_tensors(path))
    except ModelRefused:
        return None


def theirs(path: Path) -> set[str] | None:
    try:
        with safe_open(path, "numpy") as file:
            return set(file.keys())
    except SafetensorError:
        return None


def test_a_saved_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(SAVED)
    tensors = read_tensors(tmp_path / "file")
    assert set(tensors) == {"a", "b.weight", "é"}
    assert tensors["a"] == Tensor("F32", (2, 3), tensors["a"].begin, tensors["a"].begin + 24)
    assert [tensors[name].numbers for name in ("a", "b.weight", "é")] == [6, 5, 0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(SAVED) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.data())
def test_what_passes_is_what_the_library_reads(tmp_path, changes, data):
    """Files with some bytes changed, cut or added: nothing but a refusal is raised, and nothing passes that fails."""
    content = bytearray(SAVED)
    for place, byte in changes:
        content[place] = byte
    cut = data.draw(st.integers(-3, 3))
    content = content[:cut] if cut < 0 else content + bytes(cut)
    (tmp_path / "file").write_bytes(content)
    found = ours(tmp_path / "file")
    assert found is None or found == theirs(tmp_path / "file")


entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "f32", "F8_E4M3", ""]),
        "shape": st.lists(st.integers(-1, 4), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 24), min_size=1, max_size=3),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=3), entries, max_size=3), st.integers(0, 24))
@example({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, 4)
def test_headers_that_pass_are_those_that_the_library_reads(tmp_path, header, data_bytes):
    write_tensors(tmp_path / "file", json.dumps(header).encode(), bytes(data_bytes))
    found = ours(tmp_path / "file")
    assert found is None or found == theirs(tmp_path / "file")


def test_a_link_in_the_files_place_is_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(SAVED)
    (tmp_path / "file").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="file"):
        read_tensors(tmp_path / "file")
