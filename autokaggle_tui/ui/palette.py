"""The palette: every command, round, model and theme, found by a few letters."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import Matcher

from autokaggle_tui.ledger import models_used
from autokaggle_tui.state import Result
from autokaggle_tui.ui.keymap import BY_ID, MOVE, Key
from autokaggle_tui.ui.screens.models import OFFLINE, ROLES, ModelsScreen
from autokaggle_tui.ui.themes import THEMES
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES
from autokaggle_tui.wording import MARKS, score_text
from experiments.errors import AutokaggleError, RegistryError
from experiments.schema import open_viewer
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.ui.app import AutokaggleApp

NOTHING = Content("")
_WORD = re.compile(r"\w+")
BREATH_EVERY = 40
"""Rows that are compared before the screen gets a turn."""
EXACT, AKIN, OWN_THEME = 1000.0, 0.5, 1.25
"""What an exact name adds to a score, the score of what only its help finds, the lift of the program's own themes."""
SHARED = 4
"""Letters with which two words begin alike that mean about the same: submit, submissions."""


@dataclass(frozen=True)
class Offer:
    """Something to choose: what is searched and shown, what is shown behind it, what it does.

    Attributes:
        name: A query of just this finds it before all others.
        lift: Its score is multiplied by it.
    """

    text: str
    act: Callable[[], Any]
    behind: Content = NOTHING
    help: str = ""
    name: str = ""
    lift: float = 1.0


class Finder(Provider):
    """Finds offers; subclasses say which there are."""

    reads_help: ClassVar[bool] = False
    """Whether an offer is found by the words of its help as well."""

    @property
    def cockpit(self) -> AutokaggleApp:
        """The app, with what it knows of the campaign."""
        return cast("AutokaggleApp", self.app)

    def offers(self) -> Iterator[Offer]:
        """Everything there is to choose."""
        raise NotImplementedError

    async def search(self, query: str) -> Hits:
        """The offers that match, best first."""
        matcher = self.matcher(query)
        for number, offer in enumerate(self.offers()):
            if number % BREATH_EVERY == BREATH_EVERY - 1:
                await asyncio.sleep(0)
            score, places = matcher.fuzzy_search.match(query, offer.text)
            if score <= 0 and self.reads_help and _akin(query, offer.help):
                score, places = AKIN, ()
            if offer.name and query.strip().casefold() == offer.name.casefold():
                score += EXACT
            if score > 0:
                shown = _marked(offer.text, places, matcher)
                yield Hit(score * offer.lift, Content.assemble(shown, offer.behind), offer.act, offer.text, offer.help)


class Commands(Finder):
    """What the keys of this screen and of the program do."""

    reads_help = True

    def offers(self) -> Iterator[Offer]:
        """One for each binding that is alive here."""
        return (offer for _key, offer in self._alive())

    async def discover(self) -> Hits:
        """All but the moving about, for which there are better ways than a list."""
        for key, offer in self._alive():
            if key.group != MOVE:
                yield DiscoveryHit(Content.assemble(offer.text, offer.behind), offer.act, offer.text, offer.help)

    def _alive(self) -> Iterator[tuple[Key, Offer]]:
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            known = BY_ID.get(binding.id or "")
            if known is None or known.id == "palette" or not active.enabled or binding.action in seen:
                continue
            seen.add(binding.action)
            key = Content.styled(f"  {self.app.get_key_display(binding)}", "$text-accent")
            act = partial(self.app.run_action, binding.action, active.node)
            yield known, Offer(binding.description, act, key, binding.tooltip)


class Rounds(Finder):
    """Every round and experiment, newest first, by name, family and idea."""

    def offers(self) -> Iterator[Offer]:
        """One for each row of the rounds table."""
        for row in reversed(list(self.cockpit.state.results.values())):
            text = " ".join(part for part in (row.name, one_line(row.family), one_line(row.idea, 80)) if part)
            yield Offer(text, partial(self.cockpit.open_round, row.name), _standing(row), name=row.name)


class Models(Finder):
    """Another model for a role."""

    _known: tuple[str, ...] = ()

    async def startup(self) -> None:
        """Find out which models config.json names, and which were used here."""
        root = self.cockpit.workspace.root
        self._known = (*await asyncio.to_thread(_named, root), *await asyncio.to_thread(self._ask))

    def offers(self) -> Iterator[Offer]:
        """Each role with each model it could have."""
        now = self.cockpit.state.now.models
        for model in dict.fromkeys([OFFLINE, *now.values(), *self._known]):
            for role in ROLES:
                if model and model != now.get(role):
                    help = "Asks it for one line, then gives it the role from its next phase on"
                    yield Offer(f"Model {role}: {one_line(model)}", partial(self._swap, role, model), help=help)

    def _swap(self, role: str, model: str) -> None:
        if isinstance(self.screen, ModelsScreen):
            self.screen.choose(role, model)
        else:
            self.app.push_screen(ModelsScreen(role, model))

    def _ask(self) -> tuple[str, ...]:
        try:
            connection = open_viewer(self.cockpit.workspace.facts)
            try:
                return tuple(usage.model for usage in models_used(connection))
            finally:
                connection.close()
        except (RegistryError, sqlite3.DatabaseError):
            return ()


def _named(root: Path) -> tuple[str, ...]:
    """The models of config.json; none where it cannot be read."""
    from autokaggle_tui.config import load_config

    try:
        return tuple(load_config(root).models.names().values())
    except AutokaggleError:
        return ()


class Themes(Finder):
    """Other colours."""

    def offers(self) -> Iterator[Offer]:
        """Every theme but the one that is on, those of the program first."""
        own = [theme.name for theme in THEMES]
        for name in dict.fromkeys([*own, *self.app.available_themes]):
            if name != self.app.theme:
                lift = OWN_THEME if name in own else 1.0
                yield Offer(f"Theme: {name}", partial(setattr, self.app, "theme", name), lift=lift)


def _akin(query: str, help: str) -> bool:
    """Whether every word of a query begins like one of the help."""
    begins = {word[:SHARED] for word in _WORD.findall(help.casefold())}
    words = _WORD.findall(query.casefold())
    return bool(words) and all(len(word) >= SHARED and word[:SHARED] in begins for word in words)


def _marked(text: str, places: Any, matcher: Matcher) -> Content:
    """The text with the letters that matched; nothing in it is markup."""
    content = Content(text)
    for place in places:
        if not text[place].isspace():
            content = content.stylize(matcher.match_style, place, place + 1)
    return content


def _standing(row: Result) -> Content:
    """Score and status of a round, as it is shown behind its name."""
    score = f"  {score_text(row.score)}" if row.score is not None else ""
    sign = (f"  {MARKS.get(row.status, '·')} {row.status}", STATUS_STYLES.get(row.status, ""))
    return Content.assemble((score, MUTED), sign)
