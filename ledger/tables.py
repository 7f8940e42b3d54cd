"""Tables of entries that remember what was there before.

Invariant: every write is one line in a journal that all tables of a state share, so that undoing it line by line
restores exactly what was there.
"""

from typing import Any, Generic, NamedTuple, TypeVar

from ledger.entries import Entry

V = TypeVar("V", bound=Entry)


class Written(NamedTuple):
    """One line of the journal: what an entry was before it was written."""

    table: "Table[Any]"
    key: bytes
    old: Entry | None


class Table(Generic[V]):
    """Entries of one kind by key; the full key is the table's one-byte prefix and the key."""

    def __init__(self, prefix: bytes, kind: type[V], journal: list[Written]) -> None:
        self.prefix = prefix
        self.kind = kind
        self.entries: dict[bytes, V] = {}
        self._journal = journal

    def get(self, key: bytes = b"") -> V | None:
        """The entry, or None."""
        return self.entries.get(key)

    def put(self, key: bytes, entry: V | None) -> None:
        """Write the entry, or remove it with None; one line in the journal."""
        self._journal.append(Written(self, key, self.entries.get(key)))
        self.restore(key, entry)

    def restore(self, key: bytes, entry: V | None) -> None:
        """Set the entry without a journal line."""
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
