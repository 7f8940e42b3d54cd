from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import TextError
from models.text.data import Data
from models.text.documents import cut_text, list_sources, read_documents


def read(data):
    skipped = Counter()
    return list(read_documents(list_sources(data), data, skipped)), skipped


def test_a_top_folder_is_a_stratum_and_so_is_the_root(tmp_path):
    (tmp_path / "law" / "old").mkdir(parents=True)
    (tmp_path / "law" / "old" / "a.txt").write_text("statute")
    (tmp_path / "b.txt").write_text("letter")
    documents, _ = read(Data(paths=(str(tmp_path),)))
    assert {(document.stratum, document.content) for document in documents} == {
        ("law", b"statute"),
        (tmp_path.name, b"letter"),
    }


def test_what_is_not_text_is_skipped_and_counted(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "zeros.dat").write_bytes(b"a\x00b")
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / "good.txt").write_text("café")
    documents, skipped = read(Data(paths=(str(tmp_path),)))
    assert [document.content for document in documents] == ["café".encode()]
    assert skipped == {"not UTF-8": 2}


def test_a_parquet_row_is_a_document_and_its_file_a_stratum(tmp_path):
    path = tmp_path / "tales.parquet"
    pq.write_table(pa.table({"body": ["one", None, "two"], "year": [1, 2, 3]}), path)
    documents, skipped = read(Data(paths=(str(path),), text_column="body"))
    assert [(document.stratum, document.content) for document in documents] == [("tales", b"one"), ("tales", b"two")]
    assert skipped == {"empty row": 1}


@pytest.mark.parametrize(
    ("column", "sentence"),
    [("story", "has no column 'story', only body, year"), ("year", "text is wanted")],
)
def test_a_wrong_column_is_named(tmp_path, column, sentence):
    path = tmp_path / "tales.parquet"
    pq.write_table(pa.table({"body": ["one"], "year": [1]}), path)
    with pytest.raises(TextError, match=sentence) as error:
        read(Data(paths=(str(path),), text_column=column))
    assert error.value.field == "data.text_column"


def test_a_broken_parquet_file_is_an_error_of_its_path(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TextError, match="not a readable Parquet file") as error:
        read(Data(paths=(str(tmp_path / "broken.parquet"),)))
    assert error.value.field == "data.paths"
    assert "\n" not in str(error.value)


def test_an_absent_path_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(TextError, match="does not exist"):
        list_sources(Data(paths=(str(tmp_path), str(tmp_path / "absent"))))


def test_the_standard_library_is_the_default():
    folders = {"encodings", "json", "pydoc_data"}
    sources = [source for source in list_sources(Data()) if source.path.parent.name in folders]
    sizes = Counter()
    for document in read_documents(sources, Data(), Counter()):
        sizes[document.stratum] += len(document.content)
    assert {"code", "documentation", "tables"} <= set(sizes)
    assert min(sizes["code"], sizes["documentation"], sizes["tables"]) > 20_000


@given(st.text(min_size=0, max_size=40), st.integers(1, 40))
def test_cut_text_is_the_longest_whole_prefix(text, maximum_bytes):
    content = text.encode("utf-8", "replace")
    cut = cut_text(content, maximum_bytes)
    assert len(cut) <= maximum_bytes
    assert content.startswith(cut)
    cut.decode("utf-8")
    assert len(cut) > maximum_bytes - 4 or cut == content
