"""How a command hears a secret: typed on the terminal without being shown, or as a line of standard input.

Invariants: never from an argument, an option or the environment, which other processes of the machine can see; what was
read is in no message.
"""

import sys

import typer

from ledger.errors import WalletError


def ask_secret(what: str, *, confirm: bool = False) -> str:
    """The secret; WalletError where standard input is no terminal and has no line."""
    if sys.stdin.isatty():
        typed: str = typer.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise WalletError(f"the {what} is asked for on a terminal, or read as a line of standard input: there was none")
    return line
