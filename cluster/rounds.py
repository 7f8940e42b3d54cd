"""The rounds of cohorts: members' jobs, what they commit to, and what validators have weighed.

Invariants:
* what a member sends can be read by others only when its hash stands in a final open block;
* every step may be repeated: what a driver that was killed has done already is found done;
* a member whose job is not done in time is left out of this round, and nobody waits for it.
"""

from collections.abc import Mapping, Sequence

import ray

from actors.ballot import Finding
from actors.dispatch import Task
from actors.keeper import View
from actors.member import MemberJob, RoundReceipt
from actors.round_wire import Entrant, WeighAnswer, WeighRequest, page_seed
from actors.seam import Handle, Reference
from cluster.cohorts import CohortRecord, read_cohorts
from cluster.config import CohortEntry
from cluster.place.plan import host_names
from cluster.report import read_epochs
from cluster.round_report import EpochFacts, RoundFacts
from cluster.run import Run, Work
from cluster.signing import waits
from ledger.entries import Cohort
from ledger.extrinsics import Call, Checkpoint, Contribute, Publish
from models.host.architectures import parameter_count


def member_jobs(run: Run, view: View, teaching: tuple[str, ...]) -> dict[str, MemberJob]:
    """This round's jobs of members, by name. Who is not on the ledger, or has sent its update already, has none."""
    neurons = {run.wallets.get(neuron.hotkey): neuron for neuron in view.neurons}
    jobs: dict[str, MemberJob] = {}
    for cohort, record in read_cohorts(run):
        name = bytes.fromhex(record.id)
        row = view.cohorts.get(name)
        manifest, parameters, accepted = _begins_at(record, row)
        for peer in run.network.peers:
            neuron = neurons.get(peer.name)
            if peer.cohort != cohort.name or peer.behaviour == "copy" or neuron is None or waits(run, neuron.hotkey):
                continue
            last = view.contributions.get(neuron.uid)
            counted = last is not None and row is not None and (last.cohort, last.epoch) == (name, row.epoch)
            jobs[peer.name] = MemberJob(
                peer=peer.name,
                cohort=name,
                manifest=manifest,
                parameters=parameters,
                accepted=accepted,
                outer=cohort.outer,
                settings=run.network.training,
                page_seed=page_seed(view.close_hash, neuron.hotkey),
                strata=peer.strata,
                behaviour=peer.behaviour,
                committed=last.payload if last is not None and counted else None,
                teaching=teaching,
            )
    return jobs


def round_calls(run: Run, work: Work, view: View, made: Mapping[str, RoundReceipt]) -> dict[str, list[Call]]:
    """What members sign after their jobs, by name: each the hash of its update, and one of those whose updates led to
    the present parameters that it publishes them.
    """
    uids = {run.wallets.get(neuron.hotkey, ""): neuron.uid for neuron in view.neurons}
    calls: dict[str, list[Call]] = {}
    for cohort, record in read_cohorts(run):
        name = bytes.fromhex(record.id)
        own = {
            peer.name: made[peer.name] for peer in run.network.peers if peer.cohort == cohort.name and peer.name in made
        }
        row = view.cohorts.get(name)
        accepted = {each.uid for each in row.accepted if not each.left} if row is not None else set()
        publisher = min((member for member in own if uids[member] in accepted), key=uids.__getitem__, default=None)
        for member, receipt in own.items():
            bound = Contribute(cohort=name, epoch=work.epoch, parameters=receipt.parameters, payload=receipt.payload)
            # The publication last: one that is refused uses no nonce, and costs its signer what is signed after it.
            shown: list[Call] = [
                Checkpoint(parameters=receipt.parameters, manifest=receipt.manifest),
                Publish(manifest=receipt.manifest),
            ]
            calls[member] = [bound, *(shown if member == publisher else [])]
    return calls


def share(run: Run, view: View) -> None:
    """Let everybody read what the open block binds its senders to: payloads move from their members' folders into the
    network's. Called when that block is final, and again by whoever goes on from it.
    """
    run.home.contributions.mkdir(parents=True, exist_ok=True)
    names = {neuron.uid: run.wallets.get(neuron.hotkey, "") for neuron in view.neurons}
    for uid, contribution in view.contributions.items():
        shared = run.home.contributions / contribution.payload.hex()
        if names.get(uid) and not shared.exists():
            try:
                (run.home.peers / names[uid] / "outbox" / contribution.payload.hex()).replace(shared)
            except FileNotFoundError:
                run.show.note(f"{names[uid]}'s update is gone: {contribution.payload.hex()[:16]}")


def round_request(run: Run, view: View, cohort: CohortEntry, record: CohortRecord) -> WeighRequest | None:
    """What is to be weighed; None where the ledger knows nothing of the cohort."""
    name = bytes.fromhex(record.id)
    row = view.cohorts.get(name)
    own = sorted((each.place, uid, each) for uid, each in view.contributions.items() if each.cohort == name)
    if row is None and not own:
        return None
    manifest, parameters, accepted = _begins_at(record, row)
    hotkeys = {neuron.uid: neuron.hotkey for neuron in view.neurons}
    strata = {peer.name: peer.strata for peer in run.network.peers}
    return WeighRequest(
        cohort=name,
        first=bytes.fromhex(record.manifest),
        manifest=manifest,
        parameters=parameters,
        accepted=accepted,
        outer=cohort.outer,
        entrants=tuple(
            Entrant(
                uid=uid,
                parameters=each.parameters,
                payload=each.payload,
                page_seed=page_seed(view.previous_close_hash, hotkeys[uid]),
                strata=strata.get(run.wallets.get(hotkeys[uid], ""), ()),
            )
            for _, uid, each in own
        ),
        windows=cohort.windows,
        nodes=cohort.nodes,
        check_pages=cohort.check_pages,
        pages=run.network.training.pages,
        page_bytes=run.network.training.page_bytes,
    )


def weigh(run: Run, work: Work, view: View) -> dict[str, list[WeighAnswer]]:
    """Have the rounds of this epoch weighed with each validator's windows; by validator. Who has no answer has no vote
    on that round.
    """
    rounds = [
        (cohort, record, request)
        for cohort, record in read_cohorts(run)
        if (request := round_request(run, view, cohort, record))
    ]
    asked = {
        Task(f"{validator} {cohort.name}".encode()): (validator, request)
        for validator in sorted(work.queries)
        for cohort, _, request in rounds
    }
    if not asked:
        return {}
    queries = {validator: ray.put(query) for validator, query in work.queries.items()}

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        validator, request = asked[task]
        return (host.weigh.remote(request, queries[validator]),)

    run.show.step(f"weighing {len(rounds)} round{'s' if len(rounds) > 1 else ''} of cohorts", len(asked))
    deadline_s = run.network.deadlines.query_s
    done = run.crew.pool.run(
        list(asked),
        send,
        homes={host: frozenset() for host in host_names(run.crew.hosts)},
        task_deadline_s=deadline_s,
        deadline_s=deadline_s,
        progress=run.show.advance,
    )
    for key, failure in done.failures.items():
        validator, _, cohort = key.decode().partition(" ")
        run.show.note(f"{cohort}'s round is not weighed for {validator}: {failure.reason}: {failure.sentence}")
    answers: dict[str, list[WeighAnswer]] = {}
    for task, answer in done.receipts.items():
        answers.setdefault(asked[task][0], []).append(answer)
    return answers


def round_facts(run: Run, view: View) -> list[RoundFacts]:
    """What the record of an epoch says of each cohort that has begun."""
    training = run.network.training
    return [
        RoundFacts(
            name=cohort.name,
            id=bytes.fromhex(record.id),
            size=parameter_count(cohort.architecture),
            page_bytes=training.pages * training.page_bytes,
            members=tuple(peer.name for peer in run.network.peers if peer.cohort == cohort.name),
            row=view.cohorts.get(bytes.fromhex(record.id)),
        )
        for cohort, record in read_cohorts(run)
    ]


def epoch_facts(run: Run, work: Work, view: View, findings: Mapping[int, Finding]) -> EpochFacts:
    """What the record of an epoch says of rounds rests on this. `findings`: by the uid of who revealed."""
    paths = {each.payload: run.home.contributions / each.payload.hex() for each in view.contributions.values()}
    return EpochFacts(
        epoch=work.epoch,
        neurons=view.neurons,
        stakes_rao=view.stakes_rao,
        findings=findings,
        contributions=view.contributions,
        sizes={payload: path.stat().st_size for payload, path in paths.items() if path.exists()},
        losses=work.losses,
        left_out=work.left_out,
        earlier=read_epochs(run.home.epochs),
    )


def _begins_at(record: CohortRecord, row: Cohort | None) -> tuple[bytes, bytes | None, tuple[tuple[int, bytes], ...]]:
    """Where a round begins: manifest and hash of the last round's parameters, and the updates that lead on."""
    if row is None:
        return bytes.fromhex(record.manifest), None, ()
    return row.manifest, row.parameters, tuple((each.uid, each.payload) for each in row.accepted)
