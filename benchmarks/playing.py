"""What an engine is to a viewer: a lock, facts and tokens, at a given pace.

    python -m benchmarks.playing FOLDER ROUNDS

Makes a campaign, says ``ready``, and then obeys a line at a time: ``stream TOKENS`` plays on as an engine whose
three agents say so many tokens a second, until it is killed; ``rush ROUNDS ROWS`` plays rounds and says rows of the
stream, about as fast as a viewer can read them, and says ``done``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from autokaggle_tui.live import KEPT_ROWS
from experiments.schema import open_facts, open_live
from tests.campaign_texts import write_live
from tests.campaigns import Player, empty_workspace

ROLES = ("researcher", "builder", "reviewer")
WORDS = "the gain of this fold is within the noise of the others so the next round tries another family of features "
FLUSH = 0.1
STEP = 0.5
CHARACTERS_PER_TOKEN = 4
AT_ONCE = 1_000


class Engine:
    """Plays on where a made campaign ended."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.workspace = empty_workspace(folder)
        self._player = Player()
        self._player.begin(None)
        self._rounds = rounds
        for number in range(1, rounds + 1):
            for _ in self._player.round(number):
                pass
        self._facts = open_facts(self.workspace.facts)
        self._player.book.write(self._facts)
        write_live(self.workspace, range(rounds - 2, rounds + 1), self._player.book.now)
        self._live = open_live(self.workspace.live)
        # The engine keeps rows that a reader is in the way of for the next time; here every row is to count.
        self._live.execute("PRAGMA busy_timeout = 30000")

    def stream(self, tokens: int) -> None:
        """Say so many tokens a second and role, and take a step of a round now and then; for ever."""
        steps = self._steps()
        text = (WORDS * 100)[: int(tokens * CHARACTERS_PER_TOKEN * FLUSH)]
        due = time.monotonic()
        while True:
            self._say(1, text)
            if time.monotonic() >= due:
                due += STEP
                next(steps)
                self._player.book.write(self._facts)
            time.sleep(FLUSH)

    def rush(self, rounds: int, rows: int) -> None:
        """Play rounds and say rows, evenly, waiting a little after every thousand rows."""
        portions = max(rows // AT_ONCE, 1)
        played = 0
        for portion in range(1, portions + 1):
            while played < rounds * portion // portions:
                played += 1
                self._rounds += 1
                for _ in self._player.round(self._rounds):
                    pass
            self._player.book.write(self._facts)
            self._say(AT_ONCE // len(ROLES), WORDS[:80])
            time.sleep(FLUSH)

    def _steps(self) -> Iterator[str]:
        while True:
            self._rounds += 1
            yield from self._player.round(self._rounds)

    def _say(self, times: int, text: str) -> None:
        now = time.time()
        self._live.execute("BEGIN IMMEDIATE")
        self._live.executemany(
            "INSERT INTO stream (at, round, role, kind, text) VALUES (?, ?, ?, 'text', ?)",
            [(now, self._rounds, role, text) for role in ROLES] * times,
        )
        self._live.execute("DELETE FROM stream WHERE id <= (SELECT max(id) FROM stream) - ?", [KEPT_ROWS])
        self._live.execute("COMMIT")


def main() -> None:
    engine = Engine(Path(sys.argv[1]), int(sys.argv[2]))
    with engine.workspace.locked():
        print("ready", flush=True)
        for line in sys.stdin:
            verb, *values = line.split()
            if verb == "stream":
                engine.stream(int(values[0]))
            else:
                engine.rush(int(values[0]), int(values[1]))
                print("done", flush=True)


if __name__ == "__main__":
    main()
