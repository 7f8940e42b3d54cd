"""What an evaluation found: the same for the command line, for Python and as JSON.

Invariants: all figures of information are in bits per byte of the same text; shares sum to the gain, and so do new bits
with `refit_bits`; a model without a value has an error, shares of 0, and no figures that were not measured.
"""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.study.settings import Study


class ModelValue(msgspec.Struct, frozen=True, kw_only=True):
    """One model, in the order of publication.

    Attributes:
        name: the base name of its folder, made unique.
        parameters: how many it has; 0 where it could not be loaded.
        bits_per_byte: of the model by itself; None where it has an error, or gave what came a probability of 0.
        share_bits, share_se: what of the collective's gain comes from it, all models at once; the shares sum to
            `gain_bits`.
        lost_without_bits, lost_without_se: what the collective loses without it.
        new_bits, new_bits_se: what it added to the models before it, in the order given.
        weight: its weight in the collective, by stratum.
        nearest, nearest_bits: the model whose answers are nearest, and the root mean square difference of both models'
            log2-probabilities of an event.
        looked_up: windows that it predicts as if it knew them, where no other does.
        tokens_per_second: scored, by one scorer.
        error: why it has no value; None where it has one.
    """

    name: str
    path: Path
    parameters: int = 0
    bits_per_byte: float | None = None
    share_bits: float = 0.0
    share_se: float = 0.0
    lost_without_bits: float = 0.0
    lost_without_se: float = 0.0
    new_bits: float = 0.0
    new_bits_se: float = 0.0
    weight: dict[str, float] = {}
    nearest: str | None = None
    nearest_bits: float | None = None
    looked_up: int = 0
    tokens_per_second: float | None = None
    error: str | None = None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Models valued as one collective.

    Attributes:
        events, bytes: what all valued models predicted: spans between cuts that they share, and the text in them.
        collective_bits_per_byte: of the mixture of all models, its weights fitted on the other fold of documents.
        best_bits_per_byte, best: of the best single model, and its name.
        baseline_bits_per_byte: of the byte frequencies of the text's training part.
        gain_bits, gain_se: baseline less collective.
        refit_bits: what the weights fitted at once gain beyond the steps one by one.
        strata: the kinds of text, with the events of each.
        seconds: how long each step took.
    """

    events: int
    bytes: int
    collective_bits_per_byte: float
    best_bits_per_byte: float | None
    baseline_bits_per_byte: float
    gain_bits: float
    models: tuple[ModelValue, ...]
    gain_se: float
    refit_bits: float
    best: str | None
    strata: dict[str, int]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    settings: Study

    def table(self) -> pa.Table:
        """The models, one row each, as an Arrow table; `weight` is one column a stratum."""
        columns: dict[str, list[object]] = {}
        for model in self.models:
            for name in model.__struct_fields__:
                if name != "weight":
                    value = getattr(model, name)
                    columns.setdefault(name, []).append(str(value) if isinstance(value, Path) else value)
            for stratum in self.strata:
                columns.setdefault(f"weight_{stratum}", []).append(model.weight.get(stratum))
        schema = pa.schema([(name, _KINDS.get(name, pa.float64())) for name in columns])
        return pa.table(columns, schema=schema)

    def write_table(self, path: Path) -> None:
        """Write `table()` as Parquet. Raises OSError."""
        pq.write_table(self.table(), path)


_KINDS = {
    "name": pa.string(),
    "path": pa.string(),
    "nearest": pa.string(),
    "error": pa.string(),
    "parameters": pa.int64(),
    "looked_up": pa.int64(),
}
