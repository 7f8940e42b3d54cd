"""What an update is worth: whether values sum to the true change of the loss, what they cost, and their errors.

A byte model of 0.3 million parameters learns from the standard library's text in rounds of eight members, with the
network's own payloads. In each round: the sum of values by quadrature against the change of the held-out loss that is
measured at both ends of the step; the value of a flipped update beside its original, and of noise as large as an honest
update. At the end: 64 contributors against 8, in turns (gradients bound both: what grows is products with sparse
updates), values on many draws of windows against those on all of them, and who is refused for its pages when one of
eight trained on others.

    python -m benchmarks.update_value [--quick]
"""

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import msgspec
import numpy as np
import torch

from benchmarks.record import summarize, time_pairs, write_record
from models.host.architectures import Architecture, build_model
from models.text.corpus import Bytes, Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import Windows, draw_pages, draw_windows
from models.train.cohort import OuterSettings
from models.train.compression import accumulate, compress, decode, keep_error
from models.train.layout import Vector, layout_of, read_vector, write_vector
from models.train.local import train_steps
from models.train.optimizer import OptimizerState
from models.train.page_gain import page_gains
from models.train.settings import TrainSettings
from models.train.step import apply_step, joint_step
from models.train.update import Update
from models.train.update_value import UpdateValues, value_step

ARCHITECTURE = Architecture("llama", 104, 2, 4)
TRAINING = TrainSettings(steps=15, batch=4, page_bytes=129, warmup_steps=30, steady_steps=1000)
OUTER = OuterSettings(rate=1.0)
MEMBERS, CROWD, WINDOWS, CHECK_PAGES = 8, 64, 48, 32


@dataclass
class Cohort:
    """A cohort in one process. A member's moments and error go on from round to round."""

    corpus: Corpus
    number: int = 0
    states: dict[int, OptimizerState] = field(default_factory=dict)
    errors_P: dict[int, Vector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = build_model(ARCHITECTURE, 0)
        self.layout = layout_of(self.model)
        self.theta_P = read_vector(self.model)

    def pages(self, who: str) -> Bytes:
        """Pages of the round."""
        seed = f"update value {self.number} {who}".encode()
        size = TRAINING.page_bytes
        return draw_pages(self.corpus, seed, strata=None, pages=TRAINING.pages, page_bytes=size)

    def windows(self, who: str, count: int = WINDOWS) -> Windows:
        """Held-out windows of the round."""
        seed = f"update value {self.number} {who}".encode()
        return draw_windows(self.corpus, seed, windows=count, window_bytes=TRAINING.page_bytes)

    def contribute(self, member: int, pages_PT: Bytes) -> Update:
        """What a member sends that trains on these pages."""
        write_vector(self.model, self.theta_P)
        done = self.number * TRAINING.steps
        trained = train_steps(self.model, self.states.get(member), pages_PT, TRAINING, steps_done=done)
        self.states[member] = trained.optimizer_state
        whole_P = accumulate(self.errors_P.get(member), self.theta_P - read_vector(self.model), OUTER)
        update = decode(compress(whole_P, self.layout, OUTER), self.layout, OUTER)
        self.errors_P[member] = keep_error(whole_P, update)
        return update

    def value(self, updates: dict[int, Update], windows: Windows, nodes: int = 5) -> UpdateValues:
        """Values of the updates of one step from here."""
        step = joint_step(updates, self.layout.size, OUTER)
        return value_step(self.model, self.theta_P, step, windows.text_WT, windows.document_W, nodes=nodes)

    def advance(self, updates: dict[int, Update]) -> None:
        """Take the step."""
        self.theta_P = apply_step(self.theta_P, joint_step(updates, self.layout.size, OUTER))
        self.number += 1


def measure_round(cohort: Cohort, updates: dict[int, Update]) -> dict[str, Any]:
    """Sums against the true change by points of the quadrature; a flipped update and noise among honest ones."""
    windows = cohort.windows("validator")
    sums = {nodes: cohort.value(updates, windows, nodes) for nodes in (1, 3, 5)}
    measured = sums[5].measured_bits
    values = sums[5].values()
    flipped = Update(updates[0].position_N, -updates[0].value_N, updates[0].norm)
    pair = cohort.value({**updates, MEMBERS: flipped}, windows).values()
    noisy = cohort.value({**updates, MEMBERS: noise_like(updates[0], cohort.layout.size, cohort.number)}, windows)
    return {
        "round": cohort.number,
        "measured_bits": measured,
        "error_by_nodes": {nodes: found.path_bits / measured - 1.0 for nodes, found in sums.items()},
        "median_value": float(np.median(list(values.values()))),
        "median_se": float(np.median(sums[5].se_U)),
        "flipped_over_honest": pair[MEMBERS] / pair[0],
        "noise_value": noisy.values()[MEMBERS],
    }


def noise_like(update: Update, size: int, seed: int) -> Update:
    """Normal noise in as many coordinates, of the same norm."""
    random = np.random.default_rng(seed)
    position_N = np.sort(random.choice(size, len(update.value_N), replace=False)).astype(np.int64)
    value_N = random.standard_normal(len(position_N))
    value_N *= update.norm / np.linalg.norm(value_N)
    return Update(position_N, value_N.astype(np.float32), update.norm)


def measure_pages(cohort: Cohort, updates: dict[int, Update], wrong: Update) -> dict[str, Any]:
    """Traces of assigned pages where the last member trained on others."""
    step = joint_step({**updates, MEMBERS - 1: wrong}, cohort.layout.size, OUTER)
    order = np.random.default_rng(cohort.number).permutation(TRAINING.pages)[:CHECK_PAGES]
    pages = {member: cohort.pages(f"member {member}")[order] for member in updates}
    found = page_gains(cohort.model, cohort.theta_P, step, pages, cohort.pages("nobody")[order])
    return {
        "round": cohort.number,
        "honest_z": [found[member].z for member in range(MEMBERS - 1)],
        "wrong_z": found[MEMBERS - 1].z,
        "limit": limit if math.isfinite(limit := found[MEMBERS - 1].limit) else None,
        "refused": [member for member, gain in found.items() if gain.failed],
    }


def run_rounds(cohort: Cohort, rounds: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rounds of honest members; beside the last one stands another who trains on pages that nobody was given."""
    sums, pages = [], []
    for _ in range(rounds):
        updates = {member: cohort.contribute(member, cohort.pages(f"member {member}")) for member in range(MEMBERS)}
        wrong = cohort.contribute(MEMBERS, cohort.pages("chosen by itself"))
        sums.append(measure_round(cohort, updates))
        pages.append(measure_pages(cohort, updates, wrong))
        print(sums[-1], pages[-1]["refused"], flush=True)
        cohort.advance(updates)
    return sums, pages


def measure_cost(cohort: Cohort, pairs: int) -> dict[str, Any]:
    """Seconds of a processor for valuing 64 contributors and 8 of them, in turns."""
    crowd = {member: cohort.contribute(member, cohort.pages(f"member {member}")) for member in range(CROWD)}
    few = {member: crowd[member] for member in range(MEMBERS)}
    windows = cohort.windows("cost")
    many_s, few_s = time_pairs(
        lambda: cohort.value(crowd, windows), lambda: cohort.value(few, windows), pairs, 1, process_time
    )
    ratios = [many / less for many, less in zip(many_s, few_s, strict=True)]
    return {"crowd_s": summarize(many_s), "few_s": summarize(few_s), "ratio": summarize(ratios)}


def measure_errors(cohort: Cohort, draws: int, reference: int) -> dict[str, Any]:
    """How often a value is within one and two standard errors of what it is on many windows."""
    updates = {member: cohort.contribute(member, cohort.pages(f"member {member}")) for member in range(MEMBERS)}
    true_U = cohort.value(updates, cohort.windows("all", reference), 3).value_U
    found = [cohort.value(updates, cohort.windows(f"draw {draw}"), 3) for draw in range(draws)]
    far_DU = np.array([np.abs(each.value_U - true_U) / each.se_U for each in found])
    return {"within_1": float((far_DU < 1).mean()), "within_2": float((far_DU < 2).mean()), "values": far_DU.size}


def main() -> None:
    """Run it and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, pairs and draws; writes no record")
    quick = parser.parse_args().quick
    rounds, pairs, draws, reference = (2, 3, 4, 128) if quick else (5, 9, 16, 1024)
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        corpus = prepare_corpus(
            Data(), Path(folder) / "corpus", window_bytes=TRAINING.page_bytes, minimum_windows=reference
        )
        cohort = Cohort(corpus)
        sums, pages = run_rounds(cohort, rounds)
        cost = measure_cost(cohort, pairs)
        errors = measure_errors(cohort, draws, reference)
    worst = max(abs(each["error_by_nodes"][5]) for each in sums)
    measured = {"rounds": sums, "worst_error": worst, "pages": pages, "cost": cost, "standard_errors": errors}
    configuration = {
        "architecture": ARCHITECTURE,
        "training": TRAINING,
        "outer": OUTER,
        "members": MEMBERS,
        "crowd": CROWD,
        "windows": WINDOWS,
        "check_pages": CHECK_PAGES,
        "reference_windows": reference,
    }
    if quick:
        print(measured)
    else:
        write_record("update_value", msgspec.to_builtins(configuration), measured)


if __name__ == "__main__":
    main()
