"""The texts that config.json names for the agents: knowledge_files, best_pipeline_script, competition_dir."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agents.knowledge import Source
from autokaggle_tui.config import Config
from experiments.errors import ConfigError
from experiments.jail import read_regular
from experiments.text import clean, without_hidden

MOST_BYTES = 400_000
MOST_FILES = 50
TEXTS = frozenset({".md", ".txt", ".py", ".rst", ".html"})


def read_knowledge(root: Path, config: Config) -> tuple[Source, ...]:
    """The texts, as they are now.

    Raises:
        ConfigError: One that is named cannot be read.
    """
    return tuple(_sources(root, config))


def _sources(root: Path, config: Config) -> Iterator[Source]:
    if config.best_pipeline_script is not None:
        yield _read("best_pipeline_script", config.best_pipeline_script, config.path(root, config.best_pipeline_script))
    for name in config.knowledge_files:
        yield _read("knowledge_files", name, config.path(root, name))
    if config.competition_dir is not None:
        folder = config.path(root, config.competition_dir)
        if not folder.is_dir():
            raise ConfigError(
                f"config.json: competition_dir: {folder} is no folder.", hint="Name one, or leave it out."
            )
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in TEXTS and path.is_file())
        except OSError as error:
            raise _unreadable("competition_dir", folder, error) from None
        for path in paths[:MOST_FILES]:
            yield _read("competition_dir", f"{config.competition_dir}/{path.name}", path)


def _read(key: str, name: str, path: Path) -> Source:
    try:
        content = read_regular(path, links=True)
    except OSError as error:
        raise _unreadable(key, path, error) from error
    text = content[:MOST_BYTES].decode("utf-8", errors="replace")
    return Source(clean(name), without_hidden(clean(text)))


def _unreadable(key: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"config.json: {key}: {path} cannot be read: {error.strerror or error}.",
        hint="Mend the path, or leave it out.",
    )
