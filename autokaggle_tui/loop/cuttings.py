"""What was read of others' public work, kept with where it came from, when, and its hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from experiments.files import sha256_text, write_atomic
from experiments.jail import read_text
from experiments.text import clean, without_hidden

Content = TypeVar("Content")
MOST_BYTES = 4_000_000
_PLAIN = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Cutting(Generic[Content]):
    """Something that was read.

    Attributes:
        address: Its page.
        fetched_at: When it was last asked for, in UTC.
        sha256: Of the content.
        round: In which this content was read first.
        content: What came.
        before: What came the time before, where that is kept.
    """

    address: str
    fetched_at: datetime
    sha256: str
    round: int
    content: Content
    before: Content | None = None


class Cuttings(Generic[Content]):
    """A folder of cuttings of one kind, a JSON file each; one that is damaged counts as never read.

    Args:
        folder: Made with the first cutting.
        kind: What the content is.
        keep_before: Each remembers the one that it replaces.
    """

    def __init__(self, folder: Path, kind: Any, *, keep_before: bool = False) -> None:
        self._folder = folder
        self._kind: TypeAdapter[Content] = TypeAdapter(kind)
        self._keep_before = keep_before

    def find(self, key: str) -> Cutting[Content] | None:
        """What was read under a key; None when nothing was."""
        try:
            kept = json.loads(read_text(self._path(key), most=MOST_BYTES, links=True))
            before = kept.get("before")
            return Cutting(
                address=str(kept["address"]),
                fetched_at=datetime.fromisoformat(kept["fetched_at"]),
                sha256=str(kept["sha256"]),
                round=int(kept["round"]),
                content=self._kind.validate_python(kept["content"]),
                before=None if before is None else self._kind.validate_python(before),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
            return None

    def keep(self, key: str, address: str, content: Content, *, now: datetime, round: int) -> Cutting[Content]:
        """Keep what came, without what nobody would see; content that was known stays of the round that read it first.

        Returns:
            What was kept.
        """
        known = self.find(key)
        plain = _harmless(self._kind.dump_python(content, mode="json"))
        content = self._kind.validate_python(plain)
        sha256 = sha256_text(json.dumps(plain, sort_keys=True))
        same = known is not None and known.sha256 == sha256
        before = (known.before if same else known.content) if known is not None and self._keep_before else None
        made = Cutting(address, now, sha256, known.round if known is not None and same else round, content, before)
        record = {
            "address": address,
            "fetched_at": now.isoformat(),
            "sha256": sha256,
            "round": made.round,
            "content": plain,
            "before": None if before is None else self._kind.dump_python(before, mode="json"),
        }
        write_atomic(self._path(key), (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        return made

    def _path(self, key: str) -> Path:
        # Keys are names that strangers chose: two that look alike in a file's name must not meet.
        mark = hashlib.sha256(key.encode()).hexdigest()[:8]
        return self._folder / f"{_PLAIN.sub('-', key).strip('-')[:80] or 'all'}-{mark}.json"


def _harmless(value: Any) -> Any:
    """JSON whose texts hold no control characters, nothing invisible and no comments."""
    if isinstance(value, str):
        # Twice: what is left when invisible characters go may be a comment.
        return without_hidden(without_hidden(clean(value)))
    if isinstance(value, list):
        return [_harmless(item) for item in value]
    if isinstance(value, dict):
        return {key: _harmless(item) for key, item in value.items()}
    return value


def fresh(cutting: Cutting[Any] | None, now: datetime, seconds: float) -> bool:
    """Whether something was read so lately that asking again would tell nothing new."""
    return cutting is not None and 0 <= (now - cutting.fetched_at).total_seconds() < seconds
