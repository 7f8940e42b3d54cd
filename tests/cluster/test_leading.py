"""Keepers and validators whose disks are lost, or come back: one history, nothing final lost, nothing minted twice."""

from pathlib import Path

import pytest

import actors.replica
from cluster.errors import NoAnswer
from cluster.sealing import bring_up, make_final, seal_final
from ledger.errors import NotLeading, NotWriter, Refusal, StoreError
from ledger.store.chain import Chain
from tests.cluster.ledger_world import KINDS, NAMES, Lost, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A network that has led nothing yet."""
    return World(tmp_path)


def test_a_network_on_disks_of_its_own_begins_with_a_term_that_was_promised(world: World) -> None:
    for method in ("position", "view", "proposal"):
        with pytest.raises(NotLeading):
            world.keeper(method)
    with pytest.raises(NotLeading):
        world.keeper("wake")
    world.run_epoch()
    assert world.keeper("known").term == 2
    assert not list((world.folder / "nodes").glob("*/*/*.parquet")), "metagraphs are written in the home"
    world.run_epoch()
    world.check(epochs=2)


def test_a_keeper_that_restarts_on_its_disk_is_woken_as_it_is(world: World) -> None:
    world.run_epoch()
    for kind in KINDS:
        world.give()
        world.start("keeper")
        seal_final(world.leading, kind, 2)
    assert world.keeper("known").term == 2
    world.check(epochs=2)


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_keeper_lost_at_any_call_of_an_epoch(world: World, moment: str) -> None:
    """Later in each epoch than in the last: before every other call of an epoch, and after those between them."""
    world.run_epoch()
    epochs, ended = 1, True
    while ended:
        left, ended = 2 * epochs - (moment == "before"), False

        def end(who: str, method: str) -> None:
            nonlocal left, ended
            left -= who == "keeper"
            if left == 0 and not ended:
                ended = True
                world.start("keeper", lost=True)
                raise Lost

        setattr(world, moment, end)
        world.run_epoch()
        epochs += 1
    assert epochs > 15
    world.check(epochs)


def test_an_old_disk_that_comes_back_leads_nothing_and_takes_in_what_is_final(world: World) -> None:
    world.run_epoch()
    old = world.copy_disk("keeper")
    world.run_epoch()
    for _ in range(2):
        world.bring_back("keeper", old)
        before = world.keeper("known")
        with pytest.raises(NotLeading):
            world.keeper("seal", "open", 2)
        world.run_epoch()
        assert world.keeper("known").term == before.term, "it lacked blocks alone, which it has by now"
    world.check(epochs=4)


def test_an_old_disk_whose_last_block_was_signed_elsewhere_takes_over_in_a_new_term(world: World) -> None:
    world.run_epoch()
    old = world.copy_disk("keeper")
    world.leading.take_over()
    world.give()
    sealed = world.leading.ask("seal", "open", 2)
    proposal = world.leading.ask("proposal")
    assert world.replicas["vera"] is not None
    (vote,) = world.replicas["vera"].follow(list(proposal.blocks), proposal.votes, proposal.mandate)
    world.bring_back("keeper", old)
    world.leading.take_over()
    assert world.keeper("known").term > proposal.term
    assert make_final(world.leading, sealed.height)
    assert world.final.get(sealed.height, sealed.block_hash) == sealed.block_hash == vote.block_hash
    assert world.leading.ask("seal", "open", 2).block_hash == sealed.block_hash, "what one signed is proposed again"
    for kind in KINDS[1:]:
        seal_final(world.leading, kind, 2)
    world.check(epochs=2)


def test_a_keeper_that_still_runs_elsewhere_commits_what_is_never_final(world: World) -> None:
    world.run_epoch()
    first, world.plain_keeper = world.plain_keeper, None
    assert first is not None
    world.nodes["keeper"] += 1
    world.plain_keeper = world.make_keeper()
    world.run_epoch()
    astray = first.seal("open", 2)
    assert astray.block_hash != world.final[astray.height], "it lacks the gift that waits in the home"
    proposal = first.proposal()
    for name in NAMES:
        _, failures = world.validators("follow", each={name: (proposal.blocks, proposal.votes, proposal.mandate)})
        assert name in failures
    assert not first.add_votes(astray.height, []).final
    with pytest.raises(Refusal, match="not_final"):
        first.seal("commit", 2)
    second, world.plain_keeper = world.plain_keeper, first
    world.leading.take_over()
    assert first.position().block_hash == world.final[6], "its own head gave way"
    assert first.known().term > second.known().term
    world.run_epoch()
    astray = second.seal("open", 3)
    assert astray.block_hash != world.final[astray.height]
    with pytest.raises(Refusal, match="not_final"):
        second.seal("commit", 3)
    second.close()
    world.check(epochs=3)


def test_a_validator_whose_disk_is_lost_is_bound_by_its_oath(world: World) -> None:
    world.run_epoch()
    world.give()
    sealed = world.leading.ask("seal", "open", 2)
    proposal = world.leading.ask("proposal")
    told = (proposal.blocks, proposal.votes, proposal.mandate)
    answers, _ = world.validators("follow", each={"vera": told})
    world.start("vera", lost=True)
    vera = world.replicas["vera"]
    assert vera is not None
    assert vera.known().height == 0
    assert [vera.known().last] == answers["vera"]
    assert vera.known().term == proposal.term
    pledge = vera.promise(proposal.term + 1)
    assert (pledge.promise.last, pledge.block.hash) == (answers["vera"][0], sealed.block_hash)
    world.start("vera", lost=True)
    _, failures = world.validators("promise", each={"vera": (proposal.term + 1,)})
    assert "wrong_term" in failures["vera"]
    assert make_final(world.leading, sealed.height, sealed.block_hash)
    for kind in KINDS[1:]:
        seal_final(world.leading, kind, 2)
    assert world.replicas["vera"].known().final_height == 6 - 1
    world.check(epochs=2)


def test_a_validator_whose_disk_is_lost_signs_no_other_block_of_a_height(world: World) -> None:
    world.run_epoch()
    old = world.copy_disk("keeper")
    world.leading.take_over()
    blocks = []
    for gift in (1, 2):
        world.bring_back("keeper", old)
        world.keeper("wake")
        for _ in range(gift):
            world.give()
        world.keeper("seal", "open", 2)
        proposal = world.keeper("proposal")
        blocks.append((proposal.blocks, proposal.votes, proposal.mandate))
    assert blocks[0][0][0].header.term == blocks[1][0][0].header.term, "a keeper that contradicts itself"
    answers, _ = world.validators("follow", each={"vera": blocks[0]})
    world.start("vera", lost=True)
    bring_up(world.leading)
    _, failures = world.validators("follow", each={"vera": blocks[1]})
    assert "wrong_block" in failures["vera"]
    world.start("vera", lost=True)
    bring_up(world.leading)
    again, _ = world.validators("follow", each={"vera": blocks[0]})
    assert again == answers


def test_what_was_not_kept_was_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run_epoch()
    world.give()
    world.leading.ask("seal", "open", 2)
    proposal = world.leading.ask("proposal")

    def full(path: Path, oath: object) -> None:
        raise StoreError(f"{path}: the validator's oath can't be kept: No space left on device")

    monkeypatch.setattr(actors.replica, "write_oath", full)
    answers, failures = world.validators("follow", each={"vera": (proposal.blocks, proposal.votes, proposal.mandate)})
    assert not answers
    assert "No space left" in failures["vera"]
    with pytest.raises(StoreError):
        world.replicas["vera"].promise(9)
    monkeypatch.undo()
    world.start("vera", lost=True)
    assert world.replicas["vera"].known().term == proposal.term, "neither the vote nor the promise was told"
    assert world.replicas["vera"].known().last.height == 3
    seal_final(world.leading, "open", 2)


def test_of_two_processes_of_a_validator_the_later_one_signs(world: World) -> None:
    world.run_epoch()
    first = world.replicas["vera"]
    assert first is not None
    world.nodes["vera"] += 1
    world.replicas["vera"] = world.make_replica("vera")
    world.give()
    world.leading.ask("seal", "open", 2)
    proposal = world.leading.ask("proposal")
    with pytest.raises(NotWriter, match="another process signs for vera"):
        first.follow(list(proposal.blocks), proposal.votes, proposal.mandate)
    assert first.chain.votes(4) == [], "what is not told is not on its disk either"
    with pytest.raises(NotWriter):
        first.promise(99)
    assert make_final(world.leading, 4)
    assert world.replicas["vera"].known().last.height == 4
    assert world.replicas["vera"].known().term == proposal.term
    first.close()
    world.bring_back("vera", first.chain.path.parents[2])
    for kind in KINDS[1:]:
        seal_final(world.leading, kind, 2)
    world.check(epochs=2)


def test_who_voted_and_has_neither_replica_nor_oath_signs_nothing(world: World) -> None:
    world.run_epoch()
    (world.home.validators / "vera" / "ballots").mkdir()
    (world.home.validators / "vera" / "oath").unlink()
    world.start("vera", lost=True)
    for _ in range(2):
        world.run_epoch()
        vera = world.replicas["vera"]
        assert vera.known().final_height >= world.leading.ask("position").height - 1, "it follows"
        with pytest.raises(Refusal, match="no_oath"):
            vera.promise(99)
        world.start("vera")
    world.check(epochs=3)


def test_a_replica_in_the_home_binds_the_one_that_follows_it_on_a_disk(tmp_path: Path) -> None:
    world = World(tmp_path, apart=False)
    world.run_epoch()
    assert world.keeper("known").term == 0
    world.replicas["vera"].promise(7)
    for who in (*NAMES, "keeper"):
        world.kill(who)
    world.apart = True
    for who in (*NAMES, "keeper"):
        world.start(who)
    world.start_driver()
    assert world.replicas["vera"].known().term == 7
    world.run_epoch()
    assert world.keeper("known").term == 8
    for who in (*NAMES, "keeper"):
        world.kill(who)
    world.follower.close()
    world.apart = False
    for who in (*NAMES, "keeper"):
        world.start(who)
    world.start_driver()
    assert world.replicas["vera"].known().term == 8, "the oath outlives the disk it was apart from"
    world.run_epoch()
    assert world.keeper("known").term == 9
    world.check(epochs=3)


def test_who_is_waited_for_is_named(world: World) -> None:
    world.run_epoch()
    world.kill("vera")
    world.kill("viola")
    world.start("keeper", lost=True)
    world.leading._deadline_s = 0.05
    with pytest.raises(NoAnswer, match=r"no keeper leads: vera \(died\), viola \(died\)"):
        world.leading.ask("view")
    assert any("waiting for vera (died), viola (died)" in note for note in world.show.notes)
    with pytest.raises(NotLeading):
        world.keeper("view")
    world.start("viola")
    world.run_epoch()
    world.start("vera", lost=True)
    world.run_epoch()
    world.check(epochs=3)


def test_promises_that_are_too_few_are_asked_again(world: World) -> None:
    world.run_epoch()
    world.start("keeper", lost=True)
    refused = []

    def refuse(who: str, method: str) -> None:
        if method == "promise" and who in ("vera", "viola") and len(refused) < 4:
            refused.append(who)
            raise Lost

    world.before = refuse
    world.run_epoch()
    assert len(refused) == 4
    assert any("vera (died), viola (died)" in note for note in world.show.notes)
    world.check(epochs=2)


def test_a_damaged_database_is_set_aside_as_if_it_were_lost(world: World) -> None:
    world.run_epoch()
    for who, name in (("keeper", "chain.db"), ("vera", "replica.db")):
        world.kill(who)
        (path,) = world.node(who).rglob(name)
        path.write_bytes(b"not a database" * 999)
        world.start(who)
        assert (path.parent / "damaged-1" / name).exists()
    world.run_epoch()
    world.check(epochs=2)


def test_everything_that_is_not_the_home_may_be_lost_at_once(world: World) -> None:
    world.run_epoch()
    world.give()
    world.leading.ask("seal", "open", 2)
    for who in (*NAMES, "keeper"):
        world.start(who, lost=True)
    world.restart_driver()
    world.run_epoch()
    world.check(epochs=2)


def test_pruned_ledgers_are_brought_up_from_those_that_have_it_all(tmp_path: Path) -> None:
    world = World(tmp_path, keep_epochs=1)
    for _ in range(4):
        world.run_epoch()
    world.start("keeper", lost=True)
    world.start("vera", lost=True)
    world.run_epoch()
    with Chain.open(world.home.chain) as chain:
        assert chain.pruned_height > 0
    assert world.replicas["vera"].known().final_height >= 14
