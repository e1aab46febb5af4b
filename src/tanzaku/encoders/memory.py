"""The ids of words, each looked up once."""

from collections.abc import Callable

# Each entry takes about 200 bytes; a corpus of a million documents has some hundred thousand different words.
_MAX_KEPT_WORDS = 1_000_000


class Memory(dict[str, tuple[int, ...]]):
    """The ids of words, each learnt when it is first asked for."""

    def __init__(self, learn: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = self._learn(word)
        if len(self) < _MAX_KEPT_WORDS:
            self[word] = ids
        return ids
