"""The attack table: docs against the record, and a small share of it played again."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_page_are_those_of_the_records() -> None:
    from benchmarks.draw_value import tables

    page = (ROOT / "docs" / "value.md").read_text(encoding="utf-8")
    for name, table in tables().items():
        assert f"<!-- table {name} -->\n\n{table}\n\n<!-- end -->" in page, name


@pytest.mark.parametrize("figure", ["measures", "network"])
def test_figures_are_well_formed(figure: str) -> None:
    assert ElementTree.parse(ROOT / "docs" / "figures" / f"{figure}.svg").getroot().get("viewBox")


def test_the_record_says_that_the_aims_hold() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "attacks.json").read_text(encoding="utf-8"))
    lines = record["measured"]["scenarios"]
    assert min(line["epochs"] for line in lines) >= 6
    for line in lines:
        assert sum(now for _, now in line["victims"].values()) + line["share"] == pytest.approx(1, abs=1e-6)
        if line["kind"] == "copy":
            assert line["holds"] == (line["share"] <= 0.01 and line["largest_move"] <= 0.01)


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory, one_thread_here: None):
    from benchmarks.attacks_idle import SMALL
    from benchmarks.attacks_world import Settings, World
    from models.train.settings import TrainSettings

    settings = Settings(epochs=5, windows=96, seed=3, training=TrainSettings(steps=60), peers=SMALL)
    return World(tmp_path_factory.mktemp("attacks"), settings)


@pytest.fixture(scope="module")
def one_thread_here():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["exact", "temperature", "ensemble", "saboteur"])
def test_copies_earn_nothing_and_move_nobody(small_world, name: str) -> None:
    from benchmarks.attacks_copies import copies
    from benchmarks.attacks_outcome import describe
    from benchmarks.attacks_plots import plots
    from benchmarks.attacks_replay import replay

    scenario = next(one for one in [*copies(), *plots()] if one.name == name)
    line = describe(small_world, scenario, replay(small_world, scenario.without), replay(small_world, scenario.plan))
    assert line["share"] < 0.01
    assert line["largest_move"] < 0.01
    assert line["true_increment"]["mean"] < 0.005


@pytest.mark.thorough
def test_a_permuted_model_says_what_the_first_says(small_world) -> None:
    from benchmarks.attacks_models import permuted, score, speak

    text_WT = small_world.windows(1).text_WT[:4]
    model = small_world.model(0, 1)
    assert score(speak(permuted(model, 1)), text_WT) == pytest.approx(score(speak(model), text_WT), abs=1e-4)


@pytest.mark.thorough
def test_every_changed_answer_is_a_distribution(small_world) -> None:
    from benchmarks.attacks_models import mixed, sharded, speak, tempered, truncated

    text_BT = small_world.windows(1).text_WT[:2]
    first, second = (speak(small_world.model(peer, 1)) for peer in (0, 1))
    changed = (tempered(first, 0.8), truncated(first, 16), mixed([first, second], [0.3, 0.7]))
    for says in (*changed, sharded(first, second, 1, 4)):
        total_BT = says(text_BT).detach().exp().sum(2).numpy()
        assert np.allclose(total_BT, 1, atol=1e-4)
