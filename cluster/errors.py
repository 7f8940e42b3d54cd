"""The errors of this room: what a person did or met, in one sentence."""


class ClusterError(Exception):
    """Something expected went wrong; the command ends with exit code 1."""


class ConfigurationError(ClusterError):
    """A field of the configuration is wrong; the command ends with exit code 2.

    Attributes:
        field: the path of the field, such as `query.windows`.
        sentence: what was expected.
    """

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field, sentence)
        self.field = field
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"


class HomeInUse(ClusterError):
    """Another driver runs this home."""


class NoAnswer(ClusterError):
    """An actor did not answer within its deadline."""


class Gone(NoAnswer):
    """An actor's process is gone; Ray may be starting it again."""


class NotClosed(ClusterError):
    """A person asks about an epoch that the ledger has not closed, up to epoch `closed`."""

    def __init__(self, epoch: int, closed: int) -> None:
        super().__init__(epoch, closed)
        self.epoch = epoch
        self.closed = closed

    def __str__(self) -> str:
        what = f"has epochs 1 to {self.closed}" if self.closed else "has closed none yet"
        return f"epoch {self.epoch} is not closed; this ledger {what}"


class SubmissionRefused(ClusterError):
    """A submission cannot be made as it was asked for; nothing was registered. `code` is stable, `sentence` says what
    to do.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"
