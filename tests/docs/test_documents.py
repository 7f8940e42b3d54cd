"""What the documents say, against the repository: links, names, commands, refusals, and the example of value."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import typer.main

from cluster.cli.main import app
from cluster.config import load_network
from ledger.errors import REFUSALS
from models.value.accounts import keep_books, nano
from models.value.bits import path_bits
from models.value.fit import fit_mixture

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NETWORKS = sorted([*ROOT.glob("ray_configs/*.toml"), *ROOT.glob("examples/*.toml")])

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(document: Path) -> set[str]:
    """A document's headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_resolve(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{document.name} links to {link}"


@each_document
def test_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for words in re.findall(r"(?:`|^\$ )taoray ([^`\n|]+)", text, flags=re.MULTILINE):
        command = typer.main.get_command(app)
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word.startswith("-") or word in command.commands, f"{document.name} names `taoray {words}`"
            command = command.commands.get(word, command)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^\$ |^)make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets


def test_every_command_and_option_is_described() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    commands = [("taoray", typer.main.get_command(app))]
    while commands:
        name, command = commands.pop()
        if hasattr(command, "commands"):
            commands += [(f"{name} {word}", inner) for word, inner in command.commands.items()]
            continue
        assert f"`{name}" in page, name
        for parameter in command.params:
            long = [option for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("--")]
            assert not long or any(option in page for option in long), f"{name} {long}"


@pytest.mark.parametrize("network", NETWORKS, ids=lambda path: path.name)
def test_every_network_can_be_loaded(network: Path) -> None:
    assert load_network(network).peers


def test_the_tree_in_the_readme_names_what_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.partition("## What is where")[2].split("```")[1]
    room = ""
    for line in tree.strip().splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            room = name
        place = ROOT / name if room == name else ROOT / room / name
        assert place.is_dir() if name.endswith("/") else place.is_file(), f"{room} {name}"


def test_the_refusals_are_those_of_the_ledger() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]+\.) \|$", page, flags=re.MULTILINE)) == REFUSALS


def test_the_figure_is_well_formed() -> None:
    assert ElementTree.parse(ROOT / "docs" / "epoch.svg").getroot().get("viewBox")


def test_the_example_of_value_is_what_the_code_computes() -> None:
    page = (ROOT / "docs" / "value.md").read_text(encoding="utf-8")
    event_M = np.repeat(np.arange(4), [13, 9, 5, 5])
    versions = np.array([[2, 2, 2, 2], [5, 1, 1, 1], [1, 5, 1, 1]]) / 8
    log_probability_3M = np.log(versions[:, event_M])
    weights_3 = fit_mixture(log_probability_3M).weights_N
    assert weights_3 == pytest.approx([1 / 4, 1 / 2, 1 / 4], abs=1e-6)
    gain_M, part_2M = path_bits(np.array([1 / 2, 1 / 4]), log_probability_3M[0], log_probability_3M[1:])
    phi_2 = part_2M.mean(axis=1)
    assert f"**G = {gain_M.mean():.4f}** | | | **φ_1 = {phi_2[0]:.4f}** | **φ_2 = {phi_2[1]:.4f}**" in page
    for name, event in (("A", 0), ("B", 13), ("C, D", 22)):
        row = next(line for line in page.splitlines() if line.startswith(f"| {name} |")).replace("−", "-")
        shown = [float(cell) for cell in re.findall(r"[-+]0\.\d{4}", row)]
        assert shown == pytest.approx([gain_M[event], *part_2M[:, event]], abs=6e-5)
    for alone, bits in ((1, "0.0844"), (2, "0.0037")):
        rows_2M = log_probability_3M[[0, alone]]
        fit = fit_mixture(rows_2M)
        assert f"{path_bits(fit.weights_N[1:], rows_2M[0], rows_2M[1:])[0].mean():.4f}" == bits
        assert bits in page
    books = keep_books(
        gain=nano(gain_M.mean()),
        gain_se=nano(0.01),
        new_bits={1: nano(phi_2[0]), 2: nano(phi_2[1])},
        new_bits_se={1: 0, 2: 0},
        accounts_before={3: nano(0.08)},
        answered={1, 2, 3},
    )
    accounts = page.partition("| account | vote |")[2]
    for uid, account in books.accounts.items():
        assert f"{account / 1e9:.4f} | {books.votes[uid]} |" in accounts
