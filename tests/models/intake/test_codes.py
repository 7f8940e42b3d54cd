"""Every code has its line in the documents and its case in the tests; what strangers wrote costs little to read."""

import ast
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from models.errors import ModelRefused
from models.intake.check import LONGEST_SENTENCE, check_static, check_submission, plain
from models.intake.configuration import read_configuration
from models.intake.documents import MOST_ITEMS, Repeated, Unreadable, once_each, parse_document
from models.intake.quotas import Quotas
from models.intake.tensors import HEADER_BYTES
from tests.models.intake.building import WEIGHTS, write_tensors
from tests.models.intake.hostile import CONFIGURED, HEADED, LISTED
from tests.models.intake.speaking import REFUSED

ROOM = Path(models.__file__).parent
PAGE = ROOM.parent / "docs" / "refusals.md"
ELSEWHERE = {
    "beside_size", "out_of_memory", "out_of_time", "crash",  # cases of their own in these tests
    "manifest", "folder",  # not of folders that are submitted
}  # fmt: skip


def raised() -> Iterator[str]:
    """The codes of all refusals in the room."""
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("ModelRefused", "Refused"):
                yield from (node.args[0].value for _ in [0] if isinstance(node.args[0], ast.Constant))


def test_the_page_has_every_code_once():
    described = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(set(raised()) - {"folder"})


def test_every_code_has_its_case():
    cases = {code for table in (LISTED, CONFIGURED, HEADED, REFUSED) for code, _ in table.values()}
    assert cases | ELSEWHERE == set(raised())
    assert len(cases) >= 65


def hostile_documents() -> Iterator[bytes]:
    numbers = b"[" + b"0.5," * MOST_ITEMS + b"0]"
    yield b'{"a":' + numbers + b"}"
    yield b'{"a":[' + b'{"b":{}},' * (MOST_ITEMS - 1) + b"{}]}"
    yield b"{" + b",".join(b'"%d":[]' % number for number in range(MOST_ITEMS)) + b"}"
    yield b'{"a":"' + "😀".encode() * (HEADER_BYTES // 5) + b'"}'
    yield b"[" * HEADER_BYTES


READS = """
import sys
from pathlib import Path
from models.errors import ModelRefused
from models.intake.tensors import read_tensors
from models.intake.trial import status_mib
before = status_mib("VmRSS")
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_tensors(path)
    except ModelRefused as refusal:
        print(refusal.code)
print(status_mib("VmHWM") - before)
"""


def test_the_largest_headers_take_bounded_memory(tmp_path):
    for number, data in enumerate(hostile_documents()):
        write_tensors(tmp_path / f"{number}.safetensors", data[:HEADER_BYTES], b"")
    *codes, peak_mib = subprocess.run(
        [sys.executable, "-c", READS, str(tmp_path)], check=True, capture_output=True, text=True, timeout=240
    ).stdout.split()
    assert codes == ["tensor_entry", "tensor_entry", "tensors", "tensor_entry", "header"]
    assert int(peak_mib) < 160


def test_what_a_file_claims_is_never_allocated(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 256}))
    shape = [1 << 20, 1 << 14]
    write_tensors(tmp_path / WEIGHTS, {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 1 << 36]}}, b"")
    with (tmp_path / WEIGHTS).open("r+b") as file:
        file.truncate((1 << 36) + file.seek(0, 2))
    tracemalloc.start()
    with pytest.raises(ModelRefused) as refused:
        check_static(tmp_path, Quotas(mib=1 << 20))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert refused.value.code == "parameters"


class Counted(str):
    """A name that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_repeated_name_is_found_in_one_pass():
    names = [Counted(number) for number in range(100_000)]
    with pytest.raises(Repeated):
        once_each([(name, 0) for name in [*names, Counted(99_999)]])
    assert Counted.compared < 3 * len(names)


def test_a_repeated_name_is_refused_wherever_it_stands():
    for data in (b'{"a":1,"a":1}', b'{"b":[{"a":1,"\\u0061":2}]}'):
        with pytest.raises(Unreadable, match="'a' twice"):
            parse_document(data, "x")


def test_what_transformers_itself_writes_passes(tmp_path):
    """The configurations of its decoders, as they come: numbers that look odd are not all wrong."""
    from transformers import AutoConfig

    (tmp_path / "tokenizer.json").write_text("{}")
    kinds = "deepseek_v3 gemma3 glm4_moe gpt2 llama mamba2 phi4_multimodal qwen3_next xlstm"
    for kind in kinds.split():
        AutoConfig.for_model(kind).save_pretrained(tmp_path)
        assert read_configuration(tmp_path, Quotas())["model_type"] == kind


def test_a_sentence_is_one_plain_line_of_bounded_length(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"\x1b[2J\n" + "a" * 100_000 + "_size": -1}))
    write_tensors(tmp_path / WEIGHTS, {}, b"")
    with pytest.raises(ModelRefused) as refused:
        check_submission(tmp_path, quotas=Quotas(), panel="segments", window_bytes=64, base=None)
    assert refused.value.code == "config_range"
    assert refused.value.sentence.isprintable()
    assert len(refused.value.sentence) <= LONGEST_SENTENCE
    assert plain(f"{tmp_path} lacks {tmp_path}/config.json", tmp_path) == "the folder lacks config.json"
