"""The errors of the room `models`.

Invariants: every error names what was wrong, where, and what to do, in one line; each survives pickling, because it
travels between processes.
"""


class ModelsError(Exception):
    """Base of everything this room raises on purpose."""


class FieldError(ModelsError):
    """A configuration field is wrong. `field` is its path, `sentence` says what was expected."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field, sentence)
        self.field = field
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"


class TextError(FieldError):
    """Text cannot be read, or there is too little of it."""


class ArchitectureError(FieldError):
    """An architecture cannot be built. `field` is relative to the architecture (`kind`, `hidden`)."""


class Refused(ModelsError):
    """Something that was handed in is not taken. `code` is stable, `sentence` says what is wrong."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


class ModelRefused(Refused):
    """A folder is not a model that may be hosted. `code` is stable, `sentence` says what to do."""


class StoreError(ModelsError):
    """The content-addressed store lacks something, or what it holds is damaged."""


class TrialError(ModelsError):
    """A trial could not be held, through no fault of the submission."""


class MemoryFull(ModelsError):
    """A device has too little memory for one piece of work; the process goes on."""


class DeviceLost(ModelsError):
    """The GPU that a process computes on is gone or has failed: only a new process can go on. `process`: which one."""

    def __init__(self, sentence: str, process: int) -> None:
        super().__init__(sentence, process)
        self.sentence = sentence
        self.process = process

    def __str__(self) -> str:
        return self.sentence


class TrainingError(ModelsError):
    """Training cannot go on."""


class UpdateRefused(Refused):
    """What a member of a cohort sent is no update that counts. `code` is stable, `sentence` says what is wrong."""
