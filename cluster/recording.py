"""An epoch that is closed is written down: once, also where the driver that closed it had no time to.

Invariants: what is recorded is read off the ledger, the validators' ballots and the driver's own work; a record that
fails to leave the home is told, and costs nothing.
"""

from cluster.calls import ask_each
from cluster.epoch import Step
from cluster.exports import publish_epoch
from cluster.observe.facts import driver_facts, host_works
from cluster.observe.last import last_record
from cluster.questions import asked_in
from cluster.report import EpochRecord, Seconds, append_epoch, epoch_record, neuron_records
from cluster.round_plot import draw_rounds
from cluster.round_report import round_records
from cluster.rounds import epoch_facts, round_facts
from cluster.run import Run, Work


def record_epoch(run: Run, work: Work) -> EpochRecord:
    """Write down an epoch whose close block is the ledger's head, and export it where the configuration says."""
    record = _record(run, work)
    append_epoch(run.home.epochs, record)
    publish_epoch(run.network.storage, run.home, record.epoch, run.show)
    if record.rounds:
        draw_rounds(run.home)
    return record


def record_missed(run: Run) -> None:
    """Write down the last closed epoch, if its driver ended before it could: what validators found is in their ballots,
    who was asked and how long it took is not known any more.
    """
    position = run.position()
    last = last_record(run.home.epochs)
    if position.kind != "close" or (last is not None and last.epoch >= position.epoch):
        return
    view = run.view()
    work = Work(
        position.epoch,
        height=position.height,
        block_hash=position.block_hash,
        final=True,
        minted_before_rao=view.supply.minted_rao - sum(neuron.emission_rao for neuron in view.neurons),
    )
    work.findings, failures = ask_each(
        run.crew.validators,
        lambda name, handle: handle.finding.remote(work.epoch),
        deadline_s=run.network.deadlines.validator_s,
        tell=run.show.note,
    )
    for name, why in failures.items():
        run.show.note(f"{name} tells nothing of epoch {work.epoch}: {why}")
    run.show.note(f"epoch {work.epoch} was closed and not written down: it is now")
    record_epoch(run, work)


def _record(run: Run, work: Work) -> EpochRecord:
    view = run.view()
    uids = {run.wallets.get(neuron.hotkey, ""): neuron for neuron in view.neurons}
    findings = {
        uids[name].uid: finding
        for name, finding in work.findings.items()
        if name in uids and uids[name].revealed_epoch == work.epoch
    }
    rounds = round_records(round_facts(run, view), epoch_facts(run, work, view, findings))
    adapters = {n.manifest for n in view.neurons if n.manifest is not None and run.packing.is_adapter(n.manifest)}
    seconds = {step: round(work.seconds.get(step, 0.0), 3) for step in Step}
    return epoch_record(
        epoch=work.epoch,
        height=work.height,
        block_hash=work.block_hash,
        minted_rao=view.supply.minted_rao - work.minted_before_rao,
        final=work.final,
        seconds=Seconds(
            query=seconds[Step.QUERY],
            value=seconds[Step.VALUE] + seconds[Step.COMMIT],
            train=seconds[Step.TRAIN] + seconds[Step.ENLIST],
            close=seconds[Step.OPEN] + seconds[Step.CLOSE],
        ),
        findings=findings,
        neurons=neuron_records(view.neurons, view.stakes_rao, findings, work.epoch, adapters, rounds),
        rounds=rounds,
        issuance_rao=view.supply.issuance_rao,
        asked=asked_in(work),
        hosts=host_works(work.scored.receipts.values()),
        driver=driver_facts(run.home.folder, run.home.chain.parent),
    )
