"""The dispatcher by itself: each of its promises."""

from collections.abc import Iterable

from actors.dispatch import IN_FLIGHT, MISSES, QUARANTINE, RETRIES, Ask, Dispatcher, Reason, Task


def tasks_of(*keys: bytes, chunks: int = 1) -> list[Task]:
    return [Task(key, chunk) for key in keys for chunk in range(chunks)]


def drain(dispatcher: Dispatcher) -> list[Ask]:
    """All instructions until something must be reported."""
    return list(iter(dispatcher.next_ask, None))


def answer_all(dispatcher: Dispatcher, hosts: Iterable[str]) -> list[Ask]:
    """Answer whatever is asked until the end; who was asked what, in order."""
    asked = drain(dispatcher)
    hosts = [*hosts, QUARANTINE]
    while any(dispatcher.flying(host) for host in hosts):
        for host in hosts:
            if flying := dispatcher.flying(host):
                dispatcher.answered(Ask(host, flying[0]))
                asked += drain(dispatcher)
    return asked


def test_every_task_is_asked_once_and_answered_at_home_in_order():
    tasks = tasks_of(b"a", chunks=3)
    dispatcher = Dispatcher(tasks, {"host": frozenset([b"a"])})
    assert [ask.task for ask in answer_all(dispatcher, ["host"])] == tasks
    assert dispatcher.done
    assert dispatcher.answers == set(tasks)
    assert not dispatcher.failures


def test_nothing_to_do_is_done():
    dispatcher = Dispatcher([], {"host": frozenset()})
    assert dispatcher.done
    assert dispatcher.next_ask() is None


def test_a_host_holds_no_more_than_its_limit_and_the_least_loaded_is_asked_first():
    dispatcher = Dispatcher(tasks_of(b"a", b"b", b"c", b"d", b"e"), {"h1": frozenset(), "h2": frozenset()})
    asked = drain(dispatcher)
    assert [ask.host for ask in asked] == ["h1", "h2", "h1", "h2"]
    assert len(dispatcher.flying("h1")) == len(dispatcher.flying("h2")) == IN_FLIGHT


def test_a_busy_host_takes_nothing_from_others_and_an_idle_one_takes_from_the_longest_lane():
    homes = {"h1": frozenset([b"a", b"b", b"c", b"d"]), "h2": frozenset([b"x"]), "h3": frozenset()}
    dispatcher = Dispatcher(tasks_of(b"a", b"b", b"c", b"d", b"x"), homes)
    assert {ask.host: ask.task.key for ask in drain(dispatcher) if ask.host != "h1"} == {"h2": b"x", "h3": b"d"}
    dispatcher.answered(Ask("h2", Task(b"x")))
    assert dispatcher.next_ask() == Ask("h2", Task(b"c"))


def test_a_host_whose_own_lane_is_the_longest_keeps_its_order():
    homes = {"h1": frozenset([b"a", b"b", b"c"]), "h2": frozenset([b"x"])}
    dispatcher = Dispatcher(tasks_of(b"a", b"b", b"c", b"x"), homes, in_flight=1)
    assert drain(dispatcher) == [Ask("h1", Task(b"a")), Ask("h2", Task(b"x"))]
    dispatcher.answered(Ask("h1", Task(b"a")))
    assert dispatcher.next_ask() == Ask("h1", Task(b"b"))


def test_a_host_that_stays_down_is_replaced_by_the_others():
    tasks = tasks_of(*(bytes([key]) for key in range(6)), chunks=2)
    homes = {"h1": frozenset(task.key for task in tasks), "h2": frozenset()}
    dispatcher = Dispatcher(tasks, homes)
    drain(dispatcher)
    dispatcher.crashed("h1")
    assert all(ask.host != "h1" for ask in answer_all(dispatcher, ["h2"]))
    assert dispatcher.done
    assert dispatcher.answers == set(tasks)


def test_who_kills_the_quarantine_too_is_dead_and_who_flew_with_it_comes_back():
    dispatcher = Dispatcher(tasks_of(b"good", b"poison"), {"host": frozenset()})
    drain(dispatcher)
    dispatcher.crashed("host")
    assert drain(dispatcher) == [Ask(QUARANTINE, Task(b"good"))], "one task at a time"
    dispatcher.answered(Ask(QUARANTINE, Task(b"good")))
    assert drain(dispatcher) == [Ask(QUARANTINE, Task(b"poison"))]
    dispatcher.crashed(QUARANTINE)
    assert dispatcher.done
    assert dispatcher.answers == {Task(b"good")}
    assert dispatcher.failures[b"poison"].reason == Reason.DEAD


def test_a_suspected_key_is_held_back_until_the_quarantine_has_answered_for_all_of_it():
    homes = {"h1": frozenset([b"a"]), "h2": frozenset()}
    dispatcher = Dispatcher(tasks_of(b"a", chunks=8), homes)
    drain(dispatcher)
    assert dispatcher.flying("h2"), "the idle host took over"
    dispatcher.crashed("h2")
    elsewhere = dispatcher.flying("h1")
    for task in elsewhere:
        dispatcher.answered(Ask("h1", task))
    assert drain(dispatcher)[0].host == QUARANTINE
    assert not dispatcher.flying("h1"), "the rest of the key waits for the quarantine"
    dispatcher.answered(Ask(QUARANTINE, dispatcher.flying(QUARANTINE)[0]))
    again = drain(dispatcher)
    assert [ask.host for ask in again] == [QUARANTINE], "another task of it is under suspicion still"
    dispatcher.answered(again[0])
    assert {ask.host for ask in answer_all(dispatcher, ["h1"])} == {"h1"}
    assert dispatcher.done
    assert dispatcher.answers == set(tasks_of(b"a", chunks=8))


def test_while_the_quarantine_is_busy_a_host_without_work_tries_suspects_alone():
    keys = [b"a", b"b", b"c", b"d"]
    homes = {"h1": frozenset(keys[:2]), "h2": frozenset(keys[2:]), "h3": frozenset()}
    dispatcher = Dispatcher(tasks_of(*keys), homes)
    dispatcher.crashed("h3")
    drain(dispatcher)
    dispatcher.crashed("h1")
    dispatcher.crashed("h2")
    dispatcher.up("h3")
    tried = drain(dispatcher)
    assert [(ask.host, ask.task.key) for ask in tried] == [(QUARANTINE, b"a"), ("h3", b"b")], "nothing beside it"
    dispatcher.crashed("h3")
    assert not dispatcher.failures, "the host may have died of something else"
    dispatcher.answered(tried[0])
    assert [(ask.host, ask.task.key) for ask in drain(dispatcher)] == [(QUARANTINE, b"c")]
    for host in homes:
        dispatcher.up(host)
    assert [(ask.host, ask.task.key) for ask in drain(dispatcher)] == [("h1", b"d"), ("h2", b"b")]
    answer_all(dispatcher, homes)
    assert dispatcher.done
    assert dispatcher.answers == set(tasks_of(*keys))


def test_who_kills_hosts_alone_again_and_again_is_dead_without_the_quarantine():
    dispatcher = Dispatcher(tasks_of(b"poison"), {"h1": frozenset(), "h2": frozenset()})
    dispatcher.crashed(QUARANTINE)
    for _ in range(RETRIES + 1):
        assert not dispatcher.done
        [ask] = drain(dispatcher)
        dispatcher.crashed(ask.host)
        dispatcher.up(ask.host)
    assert dispatcher.done
    assert dispatcher.failures[b"poison"].reason == Reason.DEAD


def test_an_error_is_tried_again_in_the_quarantine_alone():
    dispatcher = Dispatcher(tasks_of(b"a"), {"h1": frozenset(), "h2": frozenset()})
    dispatcher.crashed(QUARANTINE)
    [ask] = drain(dispatcher)
    dispatcher.failed(ask, "no memory here")
    assert drain(dispatcher) == []
    dispatcher.up(QUARANTINE)
    assert drain(dispatcher) == [Ask(QUARANTINE, Task(b"a"))]


def test_a_key_given_up_while_parts_of_it_fly_elsewhere_has_no_answers():
    homes = {"h1": frozenset([b"a"]), "h2": frozenset()}
    dispatcher = Dispatcher(tasks_of(b"a", chunks=8), homes)
    drain(dispatcher)
    elsewhere = dispatcher.flying("h1")
    dispatcher.answered(Ask("h1", elsewhere[0]))
    dispatcher.failed(Ask("h2", dispatcher.flying("h2")[0]), "no")
    quarantined = next(ask for ask in drain(dispatcher) if ask.host == QUARANTINE)
    dispatcher.failed(quarantined, "no again")
    assert dispatcher.failures[b"a"].reason == Reason.INVALID
    assert dispatcher.failures[b"a"].sentence == "no again"
    assert not dispatcher.answers
    assert not dispatcher.done, "what flies still comes back"
    answer_all(dispatcher, ["h1", "h2"])
    assert dispatcher.done
    assert not dispatcher.answers


def test_a_crash_under_a_key_that_was_given_up_changes_nothing():
    dispatcher = Dispatcher(tasks_of(b"a", chunks=2), {"h1": frozenset([b"a"]), "h2": frozenset()}, in_flight=1)
    drain(dispatcher)
    dispatcher.failed(Ask("h1", dispatcher.flying("h1")[0]), "no")
    dispatcher.failed(drain(dispatcher)[0], "no again")
    dispatcher.crashed("h2")
    assert dispatcher.done
    assert dispatcher.failures[b"a"].reason == Reason.INVALID


def test_an_error_is_asked_once_more_and_may_come_right():
    dispatcher = Dispatcher(tasks_of(b"a"), {"host": frozenset()})
    dispatcher.failed(drain(dispatcher)[0], "no")
    assert drain(dispatcher) == [Ask(QUARANTINE, Task(b"a"))]
    dispatcher.answered(Ask(QUARANTINE, Task(b"a")))
    assert dispatcher.done
    assert dispatcher.answers == {Task(b"a")}


def test_two_parts_of_a_key_in_one_crash_count_as_one_death():
    dispatcher = Dispatcher(tasks_of(b"a", chunks=2 * RETRIES), {"host": frozenset([b"a"])})
    for _ in range(RETRIES):
        drain(dispatcher)
        assert len(dispatcher.flying("host")) == 2
        dispatcher.crashed("host")
        for _ in range(2):
            dispatcher.answered(drain(dispatcher)[0])
        dispatcher.up("host")
    assert dispatcher.done
    assert not dispatcher.failures


def test_a_key_under_which_hosts_die_again_and_again_is_dead_though_it_survives_the_quarantine():
    dispatcher = Dispatcher(tasks_of(b"a", chunks=9), {"host": frozenset([b"a"])}, in_flight=1)
    for _ in range(RETRIES):
        drain(dispatcher)
        dispatcher.crashed("host")
        dispatcher.answered(drain(dispatcher)[0])
        dispatcher.up("host")
    drain(dispatcher)
    dispatcher.crashed("host")
    assert dispatcher.done
    assert dispatcher.failures[b"a"].reason == Reason.DEAD
    assert str(RETRIES + 1) in dispatcher.failures[b"a"].sentence


def try_in_quarantine(dispatcher: Dispatcher, poisons: frozenset[bytes]) -> None:
    """Have the quarantine answer for whoever is under suspicion."""
    while flying := [ask.task for ask in drain(dispatcher) if ask.host == QUARANTINE]:
        if flying[0].key in poisons:
            dispatcher.crashed(QUARANTINE)
            dispatcher.up(QUARANTINE)
        else:
            dispatcher.answered(Ask(QUARANTINE, flying[0]))


def test_a_death_that_a_convicted_key_explains_counts_against_nobody_else():
    """Part after part of an innocent key waits behind a poisonous one, on host after host."""
    poisons = [bytes([index]) for index in range(RETRIES + 1)]
    innocent = tasks_of(b"innocent", chunks=len(poisons))
    homes = {f"h{index}": frozenset([key]) for index, key in enumerate(poisons)}
    dispatcher = Dispatcher([*tasks_of(*poisons), *innocent], homes)
    drain(dispatcher)
    for host, poison, part in zip(homes, poisons, innocent, strict=True):
        assert dispatcher.flying(host) == (Task(poison), part)
        dispatcher.crashed(host)
        try_in_quarantine(dispatcher, frozenset(poisons))
    assert dispatcher.done
    assert dispatcher.answers == set(innocent)
    assert set(dispatcher.failures) == set(poisons)


def test_a_death_under_what_is_left_of_a_convicted_key_counts_against_nobody_else():
    homes = {"h1": frozenset([b"poison"]), "h2": frozenset(), "h3": frozenset(), "h4": frozenset([b"innocent"])}
    innocent = tasks_of(b"innocent", chunks=2 + len(homes) - 1)
    dispatcher = Dispatcher([*tasks_of(b"poison", chunks=3), *innocent], homes)
    drain(dispatcher)
    dispatcher.crashed("h4")
    try_in_quarantine(dispatcher, frozenset([b"poison"]))
    for chunk, host in enumerate(("h1", "h2", "h3")):
        assert dispatcher.flying(host) == (Task(b"poison", chunk), innocent[2 + chunk])
        dispatcher.crashed(host)
        try_in_quarantine(dispatcher, frozenset([b"poison"]))
    assert dispatcher.done
    assert dispatcher.answers == set(innocent)


def test_a_host_is_killed_at_its_second_missed_deadline_and_only_the_busy_task_is_late():
    dispatcher = Dispatcher(tasks_of(b"slow", b"next"), {"host": frozenset()})
    drain(dispatcher)
    assert [dispatcher.missed("host") for _ in range(MISSES)] == [False, True]
    assert dispatcher.failures[b"slow"].reason == Reason.LATE
    assert dispatcher.next_ask() is None, "no work for a host that is down"
    dispatcher.up("host")
    assert answer_all(dispatcher, ["host"]) == [Ask("host", Task(b"next"))]
    assert dispatcher.done
    assert dispatcher.answers == {Task(b"next")}


def test_what_waited_behind_a_late_task_keeps_its_place():
    dispatcher = Dispatcher([Task(b"slow"), *tasks_of(b"a", chunks=3)], {"host": frozenset([b"slow", b"a"])})
    drain(dispatcher)
    for _ in range(MISSES):
        dispatcher.missed("host")
    dispatcher.up("host")
    assert [ask.task.chunk for ask in answer_all(dispatcher, ["host"])] == [0, 1, 2]


def test_an_answer_between_two_missed_deadlines_saves_the_host():
    dispatcher = Dispatcher(tasks_of(b"a", b"b", b"c"), {"host": frozenset()})
    first, second = drain(dispatcher)
    assert not dispatcher.missed("host")
    dispatcher.answered(first)
    assert not dispatcher.missed("host")
    dispatcher.failed(second, "no")
    drain(dispatcher)
    assert not dispatcher.missed("host")


def test_a_key_that_hangs_in_quarantine_is_late():
    dispatcher = Dispatcher(tasks_of(b"a"), {"host": frozenset()})
    drain(dispatcher)
    dispatcher.crashed("host")
    drain(dispatcher)
    assert [dispatcher.missed(QUARANTINE) for _ in range(MISSES)] == [False, True]
    assert dispatcher.done
    assert dispatcher.failures[b"a"].reason == Reason.LATE


def test_the_end_gives_up_all_that_is_left_each_with_its_reason():
    homes = {"up": frozenset([b"flying", b"lane"]), "down": frozenset([b"suspect", b"stranded"])}
    dispatcher = Dispatcher(tasks_of(b"flying", b"lane", b"suspect", b"stranded", chunks=2), homes)
    drain(dispatcher)
    dispatcher.crashed("down")
    dispatcher.end("over")
    assert dispatcher.done
    assert dispatcher.next_ask() is None
    assert {key: failure.reason for key, failure in dispatcher.failures.items()} == {
        b"flying": Reason.LATE,
        b"lane": Reason.LATE,
        b"suspect": Reason.DEAD,
        b"stranded": Reason.DEAD,
    }
    assert {failure.sentence for failure in dispatcher.failures.values()} == {"over"}


def test_the_end_keeps_whole_answers_and_drops_half_ones():
    dispatcher = Dispatcher([Task(b"whole"), *tasks_of(b"half", chunks=2)], {"host": frozenset()}, in_flight=1)
    for _ in range(2):
        dispatcher.answered(drain(dispatcher)[0])
    dispatcher.end("over")
    assert dispatcher.answers == {Task(b"whole")}
    assert dispatcher.failures[b"half"].reason == Reason.LATE


GONE = "the GPU failed (CUDA error: unspecified launch failure)"


def test_a_host_that_lost_its_device_is_asked_nothing_and_the_others_take_over():
    tasks = tasks_of(*(bytes([key]) for key in range(6)), chunks=2)
    dispatcher = Dispatcher(tasks, {"h1": frozenset(task.key for task in tasks), "h2": frozenset()})
    drain(dispatcher)
    dispatcher.crashed("h1", GONE)
    dispatcher.lost("h1", GONE)
    assert all(ask.host != "h1" for ask in answer_all(dispatcher, ["h2"]))
    assert dispatcher.done
    assert dispatcher.answers == set(tasks)


def test_once_no_host_has_a_device_all_that_is_left_is_given_up_with_that_reason():
    homes = {"h1": frozenset([b"a", b"b", b"c"]), "h2": frozenset([b"x"])}
    dispatcher = Dispatcher(tasks_of(b"a", b"b", b"c", b"x"), homes, in_flight=1)
    answered = drain(dispatcher)[1]
    dispatcher.answered(answered)
    for host in (*homes, QUARANTINE):
        drain(dispatcher)
        dispatcher.crashed(host, GONE)
        assert not dispatcher.done
        dispatcher.lost(host, GONE)
    assert dispatcher.done
    assert dispatcher.answers == {answered.task}
    assert {failure.sentence for failure in dispatcher.failures.values()} == {GONE}
    assert {failure.reason for failure in dispatcher.failures.values()} == {Reason.DEAD}


def test_what_only_the_quarantine_could_tell_is_given_up_with_it():
    dispatcher = Dispatcher(tasks_of(b"a", b"b"), {"host": frozenset()}, in_flight=1)
    drain(dispatcher)
    dispatcher.lost(QUARANTINE, GONE)
    dispatcher.crashed("host", GONE)
    dispatcher.up("host")
    assert [ask.task.key for ask in drain(dispatcher)] == [b"b"]
    assert dispatcher.failures[b"a"].sentence == GONE


def test_who_kills_the_quarantine_has_its_last_words_for_a_reason():
    dispatcher = Dispatcher(tasks_of(b"poison"), {"host": frozenset()})
    drain(dispatcher)
    dispatcher.crashed("host", "first words")
    drain(dispatcher)
    dispatcher.crashed(QUARANTINE, GONE)
    assert dispatcher.done
    assert dispatcher.failures[b"poison"].sentence == GONE
