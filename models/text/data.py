"""The configuration of a network's text: what a person may set under `[data]`.

Invariants: frozen; every bound is in its type, so a wrong value is refused where the file is read.
"""

from typing import Annotated

import msgspec


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where text comes from and how it is split.

    `paths`: files, folders of text, and Parquet files; empty means the standard library of the running interpreter.
    `text_column`: the column that holds a Parquet row's document.
    `private`: the same, of text that is not public. It is all held out, and then nothing else is.
    `held_out_share`: the part of the documents, by hash, that no peer trains on where there is no private text.
    `minimum_document_bytes`, `maximum_document_bytes`: shorter documents are left out, longer ones are cut.
    """

    paths: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    text_column: Annotated[str, msgspec.Meta(min_length=1)] = "text"
    held_out_share: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.2
    minimum_document_bytes: Annotated[int, msgspec.Meta(ge=1)] = 64
    maximum_document_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 1 << 20
