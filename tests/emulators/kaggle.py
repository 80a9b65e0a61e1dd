"""An emulated Kaggle on 127.0.0.1: one competition, its submissions, leaderboard, notebooks and forum, and its faults.

``with KaggleServer() as server`` serves until the block ends; ``python -m tests.emulators.kaggle`` until it is stopped.
It speaks as Kaggle's API does, so that Kaggle's own command line works with it too.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from .kaggle_http import Fault, Handler, Received, RefusedError, Server
from .kaggle_pages import KERNELS, MESSAGES, TOPICS, notebook
from .kaggle_task import Scores, Task, tumours

USER, KEY, TOKEN = "ada", "0123456789abcdef0123456789abcdef", "KGAT_0123456789abcdef0123456789abcdef"
REFRESH, RENEWED = "KGRT_fedcba9876543210fedcba9876543210", "KGAT_fedcba9876543210fedcba9876543210"
TEAM = "Ada Lovelace"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE_SIZE, LARGEST_PAGE = 20, 200
RATE = Fault("status", 429, "Too many requests", headers={"Retry-After": "0"})
DROP, DROP_AFTER = Fault("drop"), Fault("drop after")
_CAPITAL = re.compile("([A-Z])")


@dataclass
class Accepted:
    """A submission that was taken; ``hidden`` and ``pending`` count the listings until it shows and is scored."""

    ref: int
    file: str
    description: str
    content: bytes
    at: datetime
    scores: Scores | None
    error: str
    hidden: int
    pending: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class KaggleServer:
    """Kaggle, as far as a competition needs it.

    Attributes:
        clock: The time there; set it to let days pass.
        rules_accepted, kernels_only, closed, daily_limit, total_limit, deadline: Of the competition.
        lag: So many listings do not show a submission that was just taken.
        polls: So many listings show it before it is scored.
        scoring_error: What goes wrong when the next ones are scored; empty for nothing.
        odd_status: Instead of PENDING; a value that no client knows.
        received: Every request, before its answer.
        ledger: Every submission that was taken.
        tokens: What is accepted as a bearer.
    """

    def __init__(self, task: Task | None = None, *, clock: Callable[[], datetime] = lambda: NOON) -> None:
        self.task = task or tumours()
        self.clock = clock
        self.rules_accepted, self.kernels_only, self.closed = True, False, False
        self.daily_limit, self.total_limit = 5, 1_000_000
        self.deadline = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
        self.lag, self.polls, self.scoring_error, self.odd_status = 0, 0, "", ""
        self.teams = 57
        self.archive = self.task.archive
        self.etag = '"v1"'
        self.tokens = {TOKEN, RENEWED}
        self.received: list[Received] = []
        self.ledger: list[Accepted] = []
        self.lock = threading.RLock()
        self.over = threading.Event()
        self._uploads: dict[str, tuple[str, bytes | None]] = {}
        self._blobs: dict[str, bytes] = {}
        self._once: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.kaggle = self

    @property
    def url(self) -> str:
        """What goes into AUTOKAGGLE_KAGGLE_URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()

    def fail(self, name: str, *faults: Fault) -> None:
        """Let the next requests of a name go wrong, one after the other."""
        self._once[name].extend(faults)

    def fail_always(self, name: str, fault: Fault) -> None:
        """Let all requests of a name go wrong; ``heal`` ends it."""
        self._always[name] = fault

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._once.clear()
        self._always.clear()

    def calls(self, name: str) -> int:
        """How often a name was asked for."""
        return sum(one.name == name for one in self.received)

    def fault(self, name: str) -> Fault | None:
        """What goes wrong with a request that just came in."""
        with self.lock:
            return self._once[name].popleft() if self._once[name] else self._always.get(name)

    def answer(self, name: str, body: dict[str, Any], authorization: str) -> dict[str, Any] | str:
        """Do what an RPC asks for; its answer, or the address it leads to.

        Raises:
            RefusedError: It is an error.
        """
        with self.lock:
            call = getattr(self, "_rpc" + _CAPITAL.sub(r"_\1", name).lower(), None)
            if call is None:
                raise RefusedError(404, f"Method not found: {name}")
            if name not in ("IntrospectToken", "GenerateAccessToken") and not self._known(authorization):
                raise RefusedError(401, "Unauthenticated")
            if body.get("competitionName") not in (None, self.task.slug):
                # As Kaggle answers a misspelled name.
                raise RefusedError(403, "Permission 'competitions.get' was denied")
            return call(body)

    def put(self, place: str, content: bytes) -> None:
        """Take an uploaded file."""
        with self.lock:
            if place not in self._uploads:
                raise RefusedError(404, "There is no such upload")
            self._uploads[place] = (self._uploads[place][0], content)

    def blob(self, place: str) -> bytes:
        """A file to download."""
        with self.lock:
            if place not in self._blobs:
                raise RefusedError(404, "There is no such file")
            return self._blobs[place]

    def _known(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        if scheme == "Bearer":
            return value in self.tokens
        with suppress(ValueError):
            return scheme == "Basic" and base64.b64decode(value) == f"{USER}:{KEY}".encode()
        return False

    def _rpc_introspect_token(self, body: dict[str, Any]) -> dict[str, Any]:
        active = body.get("token") in self.tokens
        return {"active": active, "username": USER if active else ""}

    def _rpc_generate_access_token(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("refreshToken") != REFRESH:
            raise RefusedError(401, "The refresh token is not valid")
        return {"token": RENEWED, "expiresIn": 43_200, "userName": USER}

    def _rpc_list_competitions(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"competitions": [self._competition()]}

    def _rpc_get_competition(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._competition()

    def _competition(self) -> dict[str, Any]:
        ours = self._best()
        return {
            "id": 4711,
            "ref": f"https://www.kaggle.com/competitions/{self.task.slug}",
            "url": f"https://www.kaggle.com/competitions/{self.task.slug}",
            "title": self.task.title,
            "description": "Tell malignant tumours from benign ones.",
            "category": "Playground",
            "reward": "Swag",
            "deadline": _time(self.deadline),
            "teamCount": self.teams + (ours is not None),
            "userHasEntered": self.rules_accepted,
            "userRank": 0 if ours is None else 1 + sum(row[2] > ours for row in self._others()),
            "maxDailySubmissions": self.daily_limit,
            "evaluationMetric": self.task.metric_name,
            "isKernelsSubmissionsOnly": self.kernels_only,
            "submissionsDisabled": self.closed,
            "tags": [],
        }

    def _rpc_list_competition_pages(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "pages": [{"name": name, "content": text, "isPublished": True} for name, text in self.task.pages.items()]
        }

    def _rpc_list_data_files(self, body: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "ref": name, "totalBytes": len(content), "creationDate": _time(NOON)}
            for name, content in self.task.files.items()
        ]
        return _page(files, "files", body)

    def _rpc_download_data_files(self, body: dict[str, Any]) -> str:
        self._entered()
        return self._serve(f"{self.task.slug}.zip", self.archive)

    def _rpc_download_data_file(self, body: dict[str, Any]) -> str:
        self._entered()
        name = body.get("fileName", "")
        if name not in self.task.files:
            raise RefusedError(404, "Not found")
        return self._serve(name, self.task.files[name])

    def _serve(self, name: str, content: bytes) -> str:
        place = f"{secrets.token_hex(8)}/{name}"
        self._blobs[place] = content
        return f"{self.url}/blobs/{place}?X-Goog-Signature=abc"

    def _entered(self) -> None:
        if not self.rules_accepted:
            raise RefusedError(
                403, "You must accept this competition's rules before you can continue.", "RulesAcceptanceRequired"
            )

    def _rpc_start_submission_upload(self, body: dict[str, Any]) -> dict[str, Any]:
        self._entered()
        place = secrets.token_hex(8)
        self._uploads[place] = (body.get("fileName", ""), None)
        return {"token": place, "createUrl": f"{self.url}/uploads/{place}"}

    def _rpc_create_submission(self, body: dict[str, Any]) -> dict[str, Any]:
        self._entered()
        limit = (
            f"Your team has used its daily Submission allowance ({self.daily_limit}) today, please try again tomorrow"
        )
        spent = self._allowed() <= 0
        if self.kernels_only:
            # Kaggle says both in one breath.
            said = "This competition only accepts Submissions from Notebooks."
            raise RefusedError(400, f"Submission not allowed: {f'{limit} UTC. ' if spent else ''}{said}")
        if self.closed:
            raise RefusedError(400, "Submission not allowed:  Submissions have been disabled for this competition.")
        if spent:
            raise RefusedError(400, f"Submission not allowed: {limit} UTC (4.2 hours from now).")
        name, content = self._uploads.get(body.get("blobFileTokens", ""), ("", None))
        if content is None:
            raise RefusedError(400, "Submission not allowed: the file was not uploaded")
        ref = 52_000_000 + len(self.ledger)
        scores, error = None, self.scoring_error
        if not error:
            try:
                scores = self.task.score(content)
            except ValueError as wrong:
                error = str(wrong)
        description = body.get("submissionDescription", "")
        self.ledger.append(Accepted(ref, name, description, content, self.clock(), scores, error, self.lag, self.polls))
        return {"message": f"Successfully submitted to {self.task.title}", "ref": ref}

    def _rpc_list_submissions(self, body: dict[str, Any]) -> dict[str, Any]:
        first, shown = not body.get("pageToken"), []
        for sent in reversed(self.ledger):
            if sent.hidden:
                sent.hidden -= first
                continue
            shown.append(self._row(sent))
            sent.pending -= first and sent.pending > 0
        return _page(shown, "submissions", body)

    def _rpc_get_submission(self, body: dict[str, Any]) -> dict[str, Any]:
        for sent in self.ledger:
            if sent.ref == body.get("ref"):
                return self._row(sent)
        raise RefusedError(404, "Not found")

    def _row(self, sent: Accepted) -> dict[str, Any]:
        row = {
            "ref": sent.ref,
            "totalBytes": len(sent.content),
            "date": _time(sent.at),
            "description": sent.description,
            "fileName": sent.file,
            "publicScore": "",
            "privateScore": "",
            "status": self.odd_status or "PENDING",
            "submittedBy": TEAM,
            "submittedByRef": USER,
            "teamName": TEAM,
            "url": f"https://www.kaggle.com/submissions/{sent.ref}/{sent.ref}.raw",
        }
        if sent.pending:
            return row
        if sent.scores is None:
            return row | {"status": "ERROR", "errorDescription": sent.error}
        private = f"{sent.scores.private:.5f}" if self.clock() > self.deadline else ""
        return row | {"status": "COMPLETE", "publicScore": f"{sent.scores.public:.5f}", "privateScore": private}

    def _today(self) -> int:
        """Submissions of the UTC day; those that could not be scored do not count."""
        return sum(sent.at.date() == self.clock().date() and not sent.error for sent in self.ledger)

    def _allowed(self) -> int:
        return max(0, min(self.daily_limit - self._today(), self.total_limit - len(self.ledger)))

    def _rpc_get_submission_limits(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.ledger:
            # Who never submitted is in no team, and is told zeros.
            return {"numToday": 0, "numTotal": 0, "numAllowedNow": 0, "limitedByTotal": False}
        return {
            "numToday": self._today(),
            "numTotal": len(self.ledger),
            "numAllowedNow": self._allowed(),
            "limitedByTotal": self.total_limit - len(self.ledger) < self.daily_limit - self._today(),
        }

    def _best(self) -> float | None:
        return max((sent.scores.public for sent in self.ledger if sent.scores), default=None)

    def _others(self) -> list[tuple[int, str, float, datetime]]:
        return [
            (100 + place, f"Team {place}", 0.999 - 0.002 * place, NOON - timedelta(hours=place))
            for place in range(self.teams)
        ]

    def _rpc_get_leaderboard(self, body: dict[str, Any]) -> dict[str, Any]:
        best = self._best()
        teams = [*self._others(), *([(1, TEAM, best, self.clock())] if best is not None else [])]
        teams.sort(key=lambda row: -row[2])
        rows = [
            {"teamId": id, "teamName": name, "submissionDate": _time(at), "score": f"{score:.5f}"}
            for id, name, score, at in teams
        ]
        return _page(rows, "submissions", body)

    def _rpc_list_kernels(self, body: dict[str, Any]) -> dict[str, Any]:
        keys: dict[str, Callable[[dict[str, Any]], Any]] = {
            "VOTE_COUNT": lambda row: row["totalVotes"],
            "DATE_RUN": lambda row: row["lastRunTime"],
            "SCORE_DESCENDING": lambda row: row["id"],
            "SCORE_ASCENDING": lambda row: -row["id"],
        }
        rows = sorted(KERNELS, key=keys.get(body.get("sortBy", ""), lambda row: row["id"]), reverse=True)
        return _page(rows, "kernels", body)

    def _rpc_get_kernel(self, body: dict[str, Any]) -> dict[str, Any]:
        ref = f"{body.get('userName')}/{body.get('kernelSlug')}"
        for row in KERNELS:
            if row["ref"] == ref:
                kind = row["kernelType"]
                source = notebook(row["title"]) if kind == "notebook" else "import lightgbm\nprint('script')\n"
                blob = {"source": source, "language": "python", "kernelType": kind, "slug": body["kernelSlug"]}
                return {"metadata": row, "blob": blob}
        raise RefusedError(404, "Kernel not found")

    def _rpc_list_competition_topics(self, body: dict[str, Any]) -> dict[str, Any]:
        start = (int(body.get("page") or 1) - 1) * PAGE_SIZE
        return {"topics": TOPICS[start : start + PAGE_SIZE], "totalCount": len(TOPICS)}

    def _rpc_list_topic_messages(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"messages": MESSAGES}


def _page(rows: list[dict[str, Any]], field: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a list; the token of the next one is where it starts."""
    start = int(body.get("pageToken") or 0)
    size = min(int(body.get("pageSize") or PAGE_SIZE), LARGEST_PAGE)
    end = start + size
    return {field: rows[start:end], "nextPageToken": str(end) if end < len(rows) else ""}


def _time(moment: datetime) -> str:
    """As Kaggle writes it: seven digits of the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


if __name__ == "__main__":
    with KaggleServer(clock=lambda: datetime.now(UTC)) as running:
        print(f"export AUTOKAGGLE_KAGGLE_URL={running.url} KAGGLE_API_TOKEN={TOKEN}")
        print(f"autokaggle-tui init {running.task.slug}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
