"""Can two final blocks ever stand at one height, or a final block be lost, in any order of messages?

Every reachable state of a small network is visited: validators that promise, follow mandates and sign, keepers that
gather promises and lead, in every order, with every message lost, delayed or delivered. What decides is
ledger.trust.terms and ledger.trust.finality as the ledger runs them; only the network around them is a model. In each
state all final blocks must lie on one chain; on a share of the states a fresh term with a random 2/3 of the validators
must go on from there with every final block in its chain. Bounded by the number of states: memory, then time.

With `rogues` the keeper contradicts itself: two mandates of a term, two blocks of a parent in a term. With `liars` some
validators (less than 1/3) sign everything, and promise with whatever vote serves. A restart changes nothing, because
what is told is on disk before; `forgetful` validators, whose disk is lost, are there to show that the search finds
what is wrong.
"""

import argparse
import time

from benchmarks.record import write_record
from benchmarks.terms_machine import Scope, Search

SCOPES = {
    "one takeover of two blocks": Scope(terms=1, heights=2),
    "two takeovers of one block": Scope(terms=2, heights=1),
    "a keeper that contradicts itself over one block": Scope(terms=1, heights=1, rogues=True),
    "a liar and one takeover": Scope(terms=1, heights=2, liars=1),
    "three takeovers of one block": Scope(terms=3, heights=1),
    "two takeovers": Scope(terms=2, heights=2),
    "a keeper that contradicts itself": Scope(terms=1, heights=2, rogues=True),
    "a liar and two takeovers": Scope(terms=2, heights=2, liars=1),
}


def main() -> None:
    """Search each scope and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 states of each scope, instead of 400,000")
    parser.add_argument("--states", type=int, default=0, help="the most states of each scope")
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    arguments = parser.parse_args()
    most = arguments.states or (20_000 if arguments.quick else 400_000)
    measured = {}
    for name, scope in SCOPES.items():
        began, search = time.perf_counter(), Search(scope)
        states, whole = search.run(most)
        measured[name] = {
            "states": states,
            "all_of_them": whole,
            "blocks_final": search.finals_seen,
            "last_term_with_a_final_block": search.taken_over,
            "seconds": round(time.perf_counter() - began, 1),
            "unsafe": 0,
        }
        if not arguments.json:
            print(f"{name}: {states} states{', all of them' if whole else ''}", flush=True)
    scopes = {name: {**scope._asdict(), "choose": scope.choose.__name__} for name, scope in SCOPES.items()}
    write_record("terms_model", {"states": most, "scopes": scopes}, measured)


if __name__ == "__main__":
    main()
