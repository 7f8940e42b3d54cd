"""Training together: the page against the record, and a small share of the runs."""

import ast
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def one_thread_here():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory, one_thread_here: None, small_text: str):
    from benchmarks.training_world import Settings, World
    from models.host.architectures import Architecture
    from models.text.data import Data

    settings = Settings(
        architecture=Architecture("llama", 32, 1, 2),
        tokens=3 << 14,
        batch=4,
        inner_steps=4,
        windows=64,
        curve_windows=16,
        points=1,
    )
    paths = tuple(ast.literal_eval(small_text.partition("=")[2]))
    return World(tmp_path_factory.mktemp("training"), settings, 1, Data(paths=paths))


def record() -> dict:
    found: dict = json.loads((ROOT / "benchmarks" / "results" / "training.json").read_text(encoding="utf-8"))
    return found["measured"]


def test_the_tables_of_the_page_are_those_of_the_record() -> None:
    from benchmarks.draw_training import tables

    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name, table in tables(record()).items():
        assert f"<!-- table {name} -->\n\n{table}\n\n<!-- end -->" in page, name


def test_the_record_sums_up_its_runs() -> None:
    from benchmarks.training_summary import summarize_runs

    measured = record()
    assert json.loads(json.dumps(summarize_runs(measured["runs"]))) == measured["summary"]


def test_members_read_what_one_machine_reads(small_world) -> None:
    settings, members = small_world.settings, 3
    steps = [
        small_world.pages_of(member, members, 1).reshape(settings.inner_steps, settings.batch, -1)
        for member in range(members)
    ]
    first = members * settings.batch * settings.inner_steps
    assert np.array_equal(np.concatenate(steps, axis=1).reshape(first, -1), small_world.pages_PT[first : 2 * first])


def test_one_member_alone_takes_the_steps_of_one_machine(small_world) -> None:
    from benchmarks.training_plan import DENSE
    from benchmarks.training_rounds import in_rounds
    from benchmarks.training_world import World, together

    short = msgspec.structs.replace(small_world.settings, tokens=1 << 14)
    world = World(small_world.folder, short, 1, small_world.data)
    alone, member = together(world, 1), in_rounds(world, 1, DENSE)
    assert member["bits_per_byte"] == pytest.approx(alone["bits_per_byte"], abs=1e-3)
    assert member["sent_bytes"] >= 4 * member["parameters"] * member["exchanges"]


def test_cheats_among_eight_earn_nothing(small_world) -> None:
    from benchmarks.training_network import Weighing, play
    from models.train.cohort import OuterSettings

    weighing = Weighing(validators=2, windows=16, nodes=2, check_pages=16)
    line = play(small_world, ("flip", "thousand", "copy"), OuterSettings(), weighing)
    assert len(line["history"]) == 3
    for round_ in line["history"]:
        assert set(round_["accepted"]) == {0, 1, 2, 3, 4}
        assert max(round_["values"][5]) < 0
        assert round_["refused"] == {6: "norm", 7: "copy"}
    assert set(line["history"][-1]["sums"]) == {0, 1, 2, 3, 4}
