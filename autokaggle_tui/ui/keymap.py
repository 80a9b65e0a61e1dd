"""Every key of the program: what it is called, what it does, and what a person made of it in config.json."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from textual.binding import Binding, InvalidBinding
from textual.keys import Keys
from textual.screen import Screen

LOOP, LOOK, MOVE, HERE, PROGRAM, DIALOG = "Loop", "Look", "Move", "Here", "Program", "Answer"
GROUPS = (LOOP, LOOK, MOVE, HERE, PROGRAM, DIALOG)
"""Groups in the order of the help screen."""

SCREENS = frozenset({"cockpit", "round", "correlations", "models", "submissions", "learnings"})
DIALOGS = frozenset({"confirm", "quit", "hint", "help"})
"""Under a dialog only its own keys are alive."""

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_SHOWN_AS = {"space": "␣"}


@dataclass(frozen=True)
class Key:
    """One thing a key does.

    Attributes:
        id: What config.json calls it.
        keys: Default keys, separated by commas.
        label: One or two words for the footer.
        help: A sentence for the help screen, the palette and the tooltip.
        action: Method that is run; the id with underscores when empty.
        twin: (action, label) on the same key, for what is there only when this one is not.
        where: Screens or dialogs on which it can be alive.
        show: Whether the footer shows it.
    """

    id: str
    keys: str
    label: str
    help: str
    group: str
    action: str = ""
    twin: tuple[str, str] | None = None
    where: frozenset[str] = SCREENS
    show: bool = False

    def bindings(self, show: bool | None = None) -> list[Binding]:
        """As Textual wants it; ``show`` overrules the table."""
        pairs = [(self.action or self.id.replace("-", "_"), self.label), *([self.twin] if self.twin else [])]
        return [
            Binding(
                self.keys,
                action,
                label,
                show=self.show if show is None else show,
                key_display=_SHOWN_AS.get(self.keys),
                tooltip=self.help,
                id=self.id,
            )
            for action, label in pairs
        ]


def _panes() -> Iterable[Key]:
    for number in range(1, 8):
        yield Key(f"pane-{number}", str(number), f"Pane {number}", f"Go to pane {number}", MOVE, f"pane({number})")


KEYS: tuple[Key, ...] = (
    Key("pause", "space", "Pause", "Pause between folds, or go on", LOOP, twin=("resume", "Resume"), show=True),
    Key("retro", "t", "Retro", "Open the next round with a retrospective", LOOP, show=True),
    Key("hint", "i", "Hint", "Tell the agents something", LOOP, show=True),
    Key("kill", "K", "Kill", "Kill the running experiment; the loop goes on", LOOP),
    Key("stop", "X", "Stop now", "Stop the engine after its current step", LOOP),
    Key("restart", "r", "Restart", "Start the engine again; the run goes on", LOOP, show=True),
    Key("models", "m", "Models", "Who plays which role, and who else could", LOOK, show=True),
    Key("submissions", "b", "Blends", "Blends, submissions, and what is sent next", LOOK),
    Key("correlations", "c", "Correlations", "How alike the predictions of the pool are", LOOK),
    Key("learnings", "l", "Learnings", "LEARNINGS.md, and how often each rule bound", LOOK),
    Key("open", "enter", "Open", "Open what is selected", LOOK),
    Key("zoom", "z", "Zoom", "This pane over the whole screen, or back", LOOK, show=True),
    Key("follow", "f", "Follow", "Stay at the newest line", LOOK),
    Key("back", "escape", "Back", "Back to where you came from", MOVE),
    Key("previous", "left_square_bracket", "Previous", "The previous round or part", MOVE),
    Key("next", "right_square_bracket", "Next", "The next round or part", MOVE),
    Key("round-previous", "less_than_sign,left_curly_bracket", "Round before", "The round before this one", MOVE,
        "round(-1)", where=frozenset({"round"})),
    Key("round-next", "greater_than_sign,right_curly_bracket", "Round after", "The round after this one", MOVE,
        "round(1)", where=frozenset({"round"})),
    *_panes(),
    Key("down", "j", "Down", "Down by a line or row", MOVE, where=SCREENS | {"help"}),
    Key("up", "k", "Up", "Up by a line or row", MOVE, where=SCREENS | {"help"}),
    Key("top", "g", "Top", "To the first line or row", MOVE, where=SCREENS | {"help"}),
    Key("bottom", "G", "Bottom", "To the last line or row", MOVE, where=SCREENS | {"help"}),
    Key("filter", "slash", "Filter", "Filter the rounds, or find in a text", MOVE, show=True),
    Key("hit-next", "n", "Next hit", "The next place found", MOVE),
    Key("hit-previous", "N", "Previous hit", "The previous place found", MOVE),
    Key("sort", "s", "Sort", "Sort by the next column", HERE, where=frozenset({"cockpit", "correlations"})),
    Key("sort-reverse", "S", "Reverse", "Turn the order round", HERE, where=frozenset({"cockpit", "correlations"})),
    Key("measure", "v", "Measure", "Alike in predictions, in ranks, or in errors", HERE,
        where=frozenset({"correlations"})),
    Key("submit", "S", "Submit", "Submit what is selected, after a question", HERE,
        where=frozenset({"submissions"}), show=True),
    Key("diff", "d", "Diff", "What changed since the parent experiment", HERE, where=frozenset({"round"})),
    Key("versus", "v", "Versus", "Compare with the champion of its time, or of now", HERE, where=frozenset({"round"})),
    Key("copy", "y", "Copy", "Copy what is selected, or this pane", HERE),
    Key("editor", "e", "Edit", "Open the file in $EDITOR", HERE, where=frozenset({"round", "learnings"})),
    Key("theme", "T", "Theme", "The next theme", PROGRAM),
    Key("palette", "ctrl+p", "Palette", "Every command, round, model and theme", PROGRAM, "command_palette"),
    Key("help", "question_mark", "Help", "The keys that are alive here", PROGRAM, show=True),
    Key("quit", "q", "Quit", "Close the screen; asks about the loop", PROGRAM, show=True),
    Key("answer-yes", "y", "Yes", "Yes, do it", DIALOG, where=frozenset({"confirm"})),
    Key("answer-no", "n,escape", "No", "No, leave everything as it is", DIALOG, where=frozenset({"confirm"})),
    Key("answer-other", "left,right", "Other", "To the other answer", DIALOG, "app.focus_next",
        where=frozenset({"confirm"})),
    Key("quit-keep", "k", "Keep running", "Close the screen; the loop goes on", DIALOG, where=frozenset({"quit"})),
    Key("quit-pause", "p", "Pause", "Pause the loop and close the screen", DIALOG, where=frozenset({"quit"})),
    Key("quit-stop", "s", "Stop", "Stop the engine and close the screen", DIALOG, where=frozenset({"quit"})),
    Key("send", "ctrl+s,ctrl+enter", "Send", "Send the hint to the agents", DIALOG, where=frozenset({"hint"}),
        show=True),
    Key("cancel", "escape", "Cancel", "Leave without an answer", DIALOG, where=frozenset({"quit", "hint"}), show=True),
    Key("close", "escape,question_mark,q", "Close", "Close this window", DIALOG, where=frozenset({"help"}), show=True),
)  # fmt: skip
"""The one table; its order is the order of the footer and of the help screen."""

BY_ID: Mapping[str, Key] = {key.id: key for key in KEYS}


def bindings(*ids: str, show: bool | None = None) -> list[Binding]:
    """Bindings of these ids, for a ``BINDINGS``.

    Args:
        show: Shows all of them in the footer, or none; as the table says when not given.
    """
    return [binding for name in ids for binding in BY_ID[name].bindings(show)]


def key_of(screen: Screen[Any], name: str) -> str:
    """The key of an id that is alive on a screen, as it is shown; empty when none is."""
    alive = (active.binding for active in screen.active_bindings.values() if active.binding.id == name)
    return next((screen.app.get_key_display(binding) for binding in alive), "")


def group_of(binding: Binding) -> str:
    """The group of a binding, or an empty string when a widget brought it along."""
    key = BY_ID.get(binding.id or "")
    return "" if key is None else key.group


def keymap(config_keys: Mapping[str, Any]) -> dict[str, str]:
    """What ``App.set_keymap`` takes of a person's keys: those that mean something, the others left out.

    Args:
        config_keys: Keys by id, as in ``{"pause": "p", "stop": "ctrl+x,X"}``.
    """
    return {name: ",".join(_read(text)) for name, text in config_keys.items() if name in BY_ID and not _complaint(text)}


def own_keys(config: Any) -> dict[str, Any]:
    """The keys of config.json as a person wrote them, nothing checked yet."""
    keys = config.get("keys") if isinstance(config, dict) else None
    return keys if isinstance(keys, dict) else {}


def problems(config_keys: Mapping[str, Any]) -> list[str]:
    """Sentences about what cannot be as it was written: unknown ids and keys, two things on one key."""
    said = []
    for name, text in config_keys.items():
        if name not in BY_ID:
            close = difflib.get_close_matches(name, BY_ID, n=1)
            cure = f"did you mean {close[0]!r}?" if close else f"ids are {', '.join(BY_ID)}."
            said.append(f"keys: there is nothing called {name!r}; {cure}")
        elif complaint := _complaint(text):
            said.append(f"keys: {name}: {complaint}")
    return said + _clashes(keymap(config_keys))


def _clashes(changed: Mapping[str, str]) -> list[str]:
    """Two ids that want the same key on the same screen."""
    held: dict[str, list[Key]] = {}
    said = []
    for key in KEYS:
        for name in dict.fromkeys(_read(changed.get(key.id, key.keys))):
            for other in held.get(name, ()):
                if key.where & other.where:
                    place = "everywhere" if key.where >= SCREENS <= other.where else sorted(key.where & other.where)[0]
                    said.append(
                        f"keys: {name!r} would be both {other.id!r} and {key.id!r} "
                        f"({place}); give one of them another key."
                    )
            held.setdefault(name, []).append(key)
    return said


def _read(text: str) -> list[str]:
    """Textual's names of the keys in a list separated by commas: ``?`` is ``question_mark``."""
    return [binding.key for binding in Binding.make_bindings([Binding(text, "none")])]


def _complaint(text: object) -> str:
    """Why a text names no key, or an empty string."""
    if not isinstance(text, str):
        return f"{text!r} is no text; write a key in quotes"
    try:
        names = _read(text)
    except InvalidBinding:
        return f"{text!r} is not a list of keys; a comma as a key is written 'comma'"
    for name in names:
        *modifiers, last = name.split("+")
        if not _MODIFIERS.issuperset(modifiers) or not _known(last):
            close = difflib.get_close_matches(name, [key.value for key in Keys], n=1, cutoff=0.7)
            return f"{name!r} is no key{f'; did you mean {close[0]!r}?' if close else ''}"
    return ""


def _known(name: str) -> bool:
    if len(name) == 1 or name in {key.value for key in Keys}:
        return True
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return name in ("minus", "plus", "slash", "backslash", "underscore", "at", "pound")
    return True


def reference() -> str:
    """docs/keys.md: every id, its keys and what it does."""
    lines = [
        "# Keys",
        "",
        "Written by `python -m autokaggle_tui.ui.keymap`. The ids are those of `keys` in config.json; several keys are",
        "separated by commas. `?` on any screen shows the keys that are alive there.",
        "",
    ]
    for group in GROUPS:
        lines += [f"## {group}", "", "| id | keys | what it does |", "| --- | --- | --- |"]
        lines += [f"| `{key.id}` | `{key.keys}` | {key.help} |" for key in KEYS if key.group == group]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference(), end="")
