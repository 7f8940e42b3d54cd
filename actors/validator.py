"""A validator: keeps a replica of the ledger, draws its own windows of text, values what peers answer, and votes.

Invariants:
* it signs a block only after its own replica has executed it to the same state, and its parent is final;
* what it signs or promises is on disk before it is told, and binds it after a restart (actors/replica.py);
* nobody can foretell its windows: they come from its signature over the last final close block;
* its vote and its evidence are on disk before the commitment leaves it: after a restart it votes as it did before;
* an answer that is unsigned, of wrong shape, NaN or above probability 1 costs its peer this epoch, and nobody else.
"""

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from actors.ballot import Ballot, Finding, NoBallot, load_ballot, proposed_members, round_votes, save_ballot
from actors.disk import Disk
from actors.finding import make_finding
from actors.private import private_root
from actors.replica import Replica
from actors.round_wire import WeighAnswer
from actors.rounds import Heard, hear
from actors.rows import rows_to_ask
from actors.table import Asked, assemble
from actors.wire import Answer, Query, sign_query
from ledger.blocks import Block
from ledger.errors import Refusal
from ledger.extrinsics import (
    CommitWeights,
    RevealWeights,
    commitment_hash,
    compute_seed,
    encode_extrinsic,
    seed_message,
    sign_extrinsic,
)
from ledger.genesis import Genesis
from ledger.store.replica import Known
from ledger.trust.finality import Vote
from ledger.trust.terms import Mandate, Pledge
from ledger.wallet import Wallet
from models.text.corpus import Corpus
from models.text.windows import Windows, draw_windows
from models.value.accounts import median_accounts
from models.value.device import value_on
from models.value.errors import EvidenceError
from models.value.evidence import encode_evidence, evidence_hash
from models.value.record import WindowIds, build_evidence, read_accounts, write_evidence
from models.value.valuation import Valuation, evaluate

VALID_BLOCKS = 8
"""For how many blocks an extrinsic of a validator stays valid: it is meant for the next one."""


class ValidatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a validator finds what it needs, and how much text it draws. Folders are those of the network's home; gpus
    are reserved, as Ray counts; the replica is on the node's own disk where there is one."""

    name: str
    genesis: Genesis
    folder: str
    evidence: str
    corpus: str
    wallets: str
    windows: int
    window_bytes: int
    gpus: float = 0.0
    disk: Disk | None = None


class Validator:
    """The plain class behind a validator actor."""

    def __init__(self, settings: ValidatorSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._corpus = Corpus.open(Path(settings.corpus))
        self._private_root = private_root(self._corpus)
        self._keypair = Wallet.open(Path(settings.wallets), settings.name).hotkey()
        evidence = Path(settings.evidence).glob(f"*/{self._keypair.public.hex()}.evidence")
        self._replica = Replica(
            settings.name,
            self._folder,
            settings.genesis,
            self._keypair,
            disk=settings.disk,
            voted=bool(self._ballot_epochs()) or any(evidence),
        )
        self._chain = self._replica.chain

    def ping(self) -> int:
        """The process id: the validator is alive."""
        return os.getpid()

    def known(self) -> Known:
        """What its replica has, and its last vote."""
        return self._replica.known()

    def follow(self, blocks: list[Block], votes: Sequence[Vote] = (), mandate: Mandate | None = None) -> list[Vote]:
        """Execute blocks on the replica and sign the last, or sign the replica's head again as it is.

        Args:
            votes: those that made earlier blocks final: a block is signed only if its parent is final.
            mandate: what the keeper leads its term with, None in term 0.

        Raises:
            Refusal: a block does not follow, or may not be signed. StoreError: what it signed cannot be kept.
        """
        return self._replica.follow(blocks, votes, mandate)

    def promise(self, term: int) -> Pledge:
        """Promise a candidate not to sign for lower terms; it is on disk before it is told.

        Raises:
            Refusal: this term, or a higher one, is promised already. StoreError: the promise cannot be kept.
        """
        return self._replica.promise(term)

    def blocks(self, first: int, last: int | None = None) -> list[Block]:
        """The replica's blocks from a height to another (None: its head), for a keeper that takes over."""
        return self._replica.blocks(first, last)

    def votes(self, first: int, last: int | None = None) -> list[Vote]:
        """The votes that the replica keeps for those blocks."""
        return self._replica.votes(first, last)

    def draw(self, epoch: int) -> Query:
        """This epoch's windows of held-out text, as a signed query.

        Raises:
            Refusal: the replica is not at the open block of this epoch, or the text is not the network's.
            TextError: the held-out text has too few windows.
        """
        return self._query(epoch, self._drawn(epoch))

    def _drawn(self, epoch: int) -> Windows:
        self._require(epoch, "open")
        if self._private_root != self._chain.genesis.private_text:
            raise Refusal("wrong_text", "the held-out text is not what the genesis commits to: bring that text back")
        return self._windows(self._seed_signature(epoch))

    def _query(self, epoch: int, windows: Windows) -> Query:
        """In the next_byte panel the last byte of each window stays here."""
        panel = self._chain.genesis.panel
        shown_WT = windows.text_WT if panel == "segments" else np.ascontiguousarray(windows.text_WT[:, :-1])
        genesis = self._chain.genesis_hash
        return sign_query(self._keypair, genesis=genesis, epoch=epoch, panel=panel, text_WT=shown_WT)

    def value(
        self, epoch: int, failures: Mapping[bytes, str], *answers: Sequence[Answer], rounds: Sequence[WeighAnswer] = ()
    ) -> Finding:
        """Value what was answered, write the evidence, and fix this epoch's ballot.

        Args:
            failures: for versions without an answer, the pool's reason.
            answers: the hosts' answers, to this and to other validators' queries.
            rounds: what hosts weighed of cohorts' rounds on this validator's query.

        Raises:
            Refusal, TextError: as `draw`.
            RoundError: too few documents to value anything.
            EvidenceError: the evidence of its own last vote is gone or damaged.
        """
        path = self._ballot_path(epoch)
        kept = load_ballot(path)
        if kept is not None:
            return kept.finding
        windows = self._drawn(epoch)
        query = self._query(epoch, windows)
        operator = self._chain.genesis.keeper
        asked = assemble(
            rows=rows_to_ask(self._chain.state, self._chain.genesis.panel),
            owners={neuron.uid: neuron.hotkey for neuron in self._chain.state.neurons()},
            operator=operator,
            query=query,
            windows=windows,
            baseline_256=self._corpus.baseline_log_probability(),
            strata=self._corpus.strata,
            answers=[answer for batch in answers for answer in batch],
            failures=failures,
        )
        heard = hear(rounds, query, state=self._chain.state, operator=operator, document_W=windows.document_W)
        answered = asked.answered | heard.contributed
        before = self._accounts_before(epoch)
        gpus = self._settings.gpus
        valuation, note = value_on(
            "cuda" if gpus else "cpu",
            lambda device: evaluate(asked.round_, before, answered, heard.weighings, device=device),
            gpus=gpus,
        )
        evidence = self._write_evidence(epoch, windows, asked, valuation, before, answered, heard)
        ballot = Ballot(
            epoch=epoch,
            uids=tuple(sorted(valuation.books.votes)),
            values=tuple(valuation.books.votes[uid] for uid in sorted(valuation.books.votes)),
            evidence=evidence,
            salt=secrets.token_bytes(32),
            seed_signature=self._seed_signature(epoch),
            strata=valuation.collective.strata,
            members=proposed_members(valuation.collective),
            finding=make_finding(asked, valuation, heard.findings, note),
            rounds=round_votes(heard.weighings),
        )
        save_ballot(path, ballot)
        return ballot.finding

    def commit(self, epoch: int) -> bytes:
        """The signed extrinsic that commits this epoch's ballot. NoBallot where it valued nothing, Refusal where the
        replica is not in this epoch: its nonce is not known then.
        """
        ballot = self._ballot(epoch)
        self._require(epoch, "open", "commit")
        commitment = commitment_hash(
            genesis_hash=self._chain.genesis_hash,
            epoch=epoch,
            hotkey=self._keypair.public,
            uids=ballot.uids,
            values=ballot.values,
            evidence=ballot.evidence,
            strata=ballot.strata,
            members=ballot.members,
            rounds=ballot.rounds,
            salt=ballot.salt,
        )
        return self._sign(CommitWeights(epoch=epoch, commitment=commitment))

    def reveal(self, epoch: int) -> bytes:
        """The signed extrinsic that reveals this epoch's ballot; raises as `commit`."""
        ballot = self._ballot(epoch)
        self._require(epoch, "commit", "closed")
        return self._sign(
            RevealWeights(
                epoch=epoch,
                uids=ballot.uids,
                values=ballot.values,
                evidence=ballot.evidence,
                salt=ballot.salt,
                seed_signature=ballot.seed_signature,
                strata=ballot.strata,
                members=ballot.members,
                rounds=ballot.rounds,
            )
        )

    def finding(self, epoch: int) -> Finding:
        """What this epoch's ballot found; NoBallot where it valued nothing."""
        return self._ballot(epoch).finding

    def close(self) -> None:
        """Give the replica back; the actor may be ended after this."""
        self._replica.close()

    def _require(self, epoch: int, *phases: str) -> None:
        at = self._chain.state.globals
        if at.epoch != epoch or at.phase not in phases:
            raise Refusal("wrong_epoch", f"the replica is in epoch {at.epoch} ({at.phase}), not in {epoch}")

    def _sign(self, call: CommitWeights | RevealWeights) -> bytes:
        extrinsic = sign_extrinsic(
            call,
            self._keypair,
            genesis_hash=self._chain.genesis_hash,
            nonce=self._chain.state.nonce(self._keypair.public) + 1,
            valid_until=self._chain.head.height + VALID_BLOCKS,
        )
        return encode_extrinsic(extrinsic)

    def _seed_signature(self, epoch: int) -> bytes:
        previous = self._chain.state.globals.previous_close_hash
        return self._keypair.sign(seed_message(self._chain.genesis_hash, epoch, previous))

    def _windows(self, seed_signature: bytes) -> Windows:
        return draw_windows(
            self._corpus,
            compute_seed(seed_signature),
            windows=self._settings.windows,
            window_bytes=self._settings.window_bytes,
        )

    def _write_evidence(
        self,
        epoch: int,
        windows: Windows,
        asked: Asked,
        valuation: Valuation,
        before: Mapping[int, int],
        answered: Collection[int],
        heard: Heard,
    ) -> bytes:
        hashes, offsets, lengths = zip(*windows.ids(), strict=True)
        evidence = build_evidence(
            asked.round_,
            valuation,
            before,
            answered,
            genesis=self._chain.genesis_hash,
            epoch=epoch,
            hotkey=self._keypair.public,
            seed=compute_seed(self._seed_signature(epoch)),
            windows=WindowIds(hashes, offsets, lengths, asked.window_M, asked.offset_M),
            weighings=heard.weighings,
        )
        data = encode_evidence(evidence)
        write_evidence(self._evidence_path(epoch, self._keypair.public), data)
        return evidence_hash(data)

    def _accounts_before(self, epoch: int) -> dict[int, int]:
        """The accounts of this validator's last evidence; of a new validator the stake-weighted median of the others'.
        A uid that another neuron has taken over since begins at nothing."""
        last = max((e for e in self._ballot_epochs() if e < epoch), default=0)
        if last:
            ballot = self._ballot(last)
            accounts = read_accounts(self._evidence_path(last, self._keypair.public), ballot.evidence)
        else:
            last = epoch - 1
            accounts = self._median_of_last_reveals(last)
        registered = {neuron.uid: neuron.registered_epoch for neuron in self._chain.state.neurons()}
        return {uid: account for uid, account in accounts.items() if registered.get(uid, epoch) <= last}

    def _median_of_last_reveals(self, epoch: int) -> dict[int, int]:
        """Who cannot show the evidence that it committed to does not count."""
        tables, stakes = [], []
        for neuron in self._chain.state.neurons():
            if neuron.revealed_epoch != epoch:
                continue
            try:
                tables.append(read_accounts(self._evidence_path(epoch, neuron.hotkey), neuron.evidence))
            except EvidenceError:
                continue
            stakes.append(self._chain.state.stake(neuron.hotkey))
        return median_accounts(tables, stakes) if tables else {}

    def _ballot(self, epoch: int) -> Ballot:
        ballot = load_ballot(self._ballot_path(epoch))
        if ballot is None:
            raise NoBallot(f"{self._settings.name} valued nothing in epoch {epoch}")
        return ballot

    def _ballot_path(self, epoch: int) -> Path:
        return self._folder / "ballots" / f"{epoch:06d}"

    def _ballot_epochs(self) -> list[int]:
        return [int(path.name) for path in (self._folder / "ballots").glob("[0-9]" * 6)]

    def _evidence_path(self, epoch: int, hotkey: bytes) -> Path:
        return Path(self._settings.evidence) / f"{epoch:06d}" / f"{hotkey.hex()}.evidence"
