"""LiteLLM itself: imported when a role first needs it, set up so that it fetches nothing and tells nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from contextlib import suppress
from typing import Any

_lock = threading.Lock()
_loaded: Any = None
_ENVIRONMENT = {
    # Else it loads the price map and header lists from the network, and whatever .env lies about.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


def loaded() -> Any:
    """The ``litellm`` module if it was loaded before, else None."""
    return _loaded


def load() -> Any:
    """The ``litellm`` module, ready for calls.

    The first call takes seconds and belongs in a thread; see ``ready``.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _import()
    return _loaded


async def ready() -> Any:
    """``load``, beside the running loop."""
    return _loaded or await asyncio.to_thread(load)


def _import() -> Any:
    os.environ.update(_ENVIRONMENT)
    import litellm

    # Else a tokenizer is looked for in the network, for 47 s when there is none.
    litellm.disable_hf_tokenizer_download = True
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # What fails is told by this backend, with the keys taken out.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    asyncio.run(_warm(litellm))
    return litellm


async def _warm(litellm: Any) -> None:
    """Make the two calls that would block the loop for half a second each when they are first made."""
    settings = {"model": "openai/warm-up", "messages": [{"role": "user", "content": "-"}], "stream": True}
    async for _ in await litellm.acompletion(mock_response="-", stream_options={"include_usage": True}, **settings):
        pass
    # All errors of LiteLLM are of this family.
    import openai

    with socket.socket() as nobody, suppress(openai.APIError):
        # Bound and not listening: refused at once, and no packet leaves the machine.
        nobody.bind(("127.0.0.1", 0))
        await litellm.acompletion(
            api_base=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            api_key="none",
            timeout=2,
            max_retries=0,
            num_retries=0,
            **settings,
        )
