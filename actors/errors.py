"""The errors of this room that people meet: each says what was wrong and what to do, and survives pickling."""


class EndpointRefused(Exception):
    """An endpoint is not a remote peer that this network can ask. `code` is stable, `sentence` says what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"
