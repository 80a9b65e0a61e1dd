"""The playbook as a model: it answers with the write calls and the one line that an LLM would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping

from backends.models.base import Chunk, Done, Request, TextDelta, ToolCall, Usage
from backends.models.names import PLAYBOOK
from backends.models.playbook import builder, researcher, retro, reviewer
from backends.models.playbook.answer import Answer
from backends.models.tasks import Phase, Task

_WRITERS: Mapping[Phase, Callable[[Task], Answer]] = {
    "eda": builder.eda,
    "research": researcher.research,
    "plan": builder.plan,
    "review": reviewer.review,
    "revise": builder.revise,
    "code": builder.code,
    "fix": builder.fix,
    "findings": builder.findings,
    "verify": reviewer.verify,
    "retro": retro.retro,
    "handover": reviewer.handover,
}


class Playbook:
    """Plays any role from the task alone: deterministic, free, offline."""

    name = PLAYBOOK
    context: int | None = None

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """First the write calls, then, once their results are in, the one-line answer."""
        answer = _WRITERS[request.task.phase](request.task)
        written = bool(request.messages) and request.messages[-1].role == "tool"
        if answer.files and not written:
            for number, (name, text) in enumerate(answer.files.items()):
                arguments = json.dumps({"path": f"rounds/{name}", "content": text}, ensure_ascii=False)
                yield ToolCall(f"{request.task.phase}-{number}", "write_file", arguments)
            yield Usage(0, 0, 0.0)
            yield Done("tool_calls")
            return
        yield TextDelta(answer.line)
        yield Usage(0, 0, 0.0)
        yield Done("stop")
