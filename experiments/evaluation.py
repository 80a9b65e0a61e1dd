"""The metric that a competition's own words name: its label, or the text of its evaluation page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from experiments.errors import MetricError
from experiments.metrics import canonical_name, metric_names, normal_name

_PHRASES: tuple[tuple[str, str], ...] = (
    ("area under curve", "roc_auc"),
    ("area under roc curve", "roc_auc"),
    ("area under the curve", "roc_auc"),
    ("area under the receiver operating characteristic", "roc_auc"),
    ("area under the receiver operating characteristic curve", "roc_auc"),
    ("area under the receiver operating characteristic roc curve", "roc_auc"),
    ("roc auc", "roc_auc"),
    ("gini index", "gini"),
    ("gini coefficient", "gini"),
    ("area under the precision recall curve", "average_precision"),
    ("log loss", "log_loss"),
    ("logloss", "log_loss"),
    ("logarithmic loss", "log_loss"),
    ("multi class logarithmic loss", "log_loss"),
    ("multi class log loss", "log_loss"),
    ("classification accuracy", "accuracy"),
    ("multiclass accuracy", "accuracy"),
    ("percentage of correct predictions", "accuracy"),
    ("macro averaged f1", "f1_macro"),
    ("macro averaged f1 score", "f1_macro"),
    ("micro averaged f1", "f1_micro"),
    ("micro averaged f1 score", "f1_micro"),
    ("weighted average f1", "f1_weighted"),
    ("weighted average f1 score", "f1_weighted"),
    ("matthews correlation coefficient mcc", "mcc"),
    ("quadratic weighted kappa", "qwk"),
    ("quadratically weighted kappa", "qwk"),
    ("root mean squared log error", "rmsle"),
    ("root mean square log error", "rmsle"),
    ("root mean squared logarithmic error", "rmsle"),
    ("root mean square error", "rmse"),
    ("rms error", "rmse"),
    ("mean absolute deviation", "mae"),
    ("spearmans rho", "spearman"),
    ("spearmans correlation", "spearman"),
    ("spearmans correlation coefficient", "spearman"),
    ("spearmans rank correlation", "spearman"),
    ("spearmans rank correlation coefficient", "spearman"),
    ("mean average precision", "map@k"),
    ("normalized discounted cumulative gain", "ndcg@k"),
)
"""How evaluation pages say it, beside the spellings that a config.json may use."""
_TOO_SHORT = frozenset({"ap", "acc", "map", "kappa"})
"""Spellings that mean something else as often."""
_MODIFIERS = frozenset({"columnwise", "wise", "weighted", "stratified", "scaled", "adjusted", "pairwise", "groupwise"})
"""In front of a metric they make another one of it."""
_PADDING = frozenset({"mean", "average", "score", "metric", "the", "custom", "k", "classification", "regression", "s"})
"""What a label may say beside a metric's name without meaning another one."""
_OF_LOGARITHMS = re.compile(r"\blog(?:arithm)?s? of (?:the )?predict", re.IGNORECASE)
_SAYS = re.compile(r"\b(evaluat\w*|scor(?:e|es|ed|ing)|metric|measured|judged)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9]+|@")
_MARKUP = (
    (re.compile(r"<[^>]*>"), " "),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"https?://\S+"), " "),
)
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")


@dataclass(frozen=True)
class NamedMetric:
    """A metric and the words that named it.

    Attributes:
        name: Canonical, e.g. ``map@3``; ``map@k`` when no number is given.
    """

    name: str
    words: str


def named_metric(label: str, page: str) -> NamedMetric:
    """The metric of a competition.

    The label decides when it is one of ours; else the sentence of the page that says how submissions are scored;
    else the whole page, if it names one metric only.

    Args:
        label: The platform's name for it, e.g. ``Area Under Receiver Operating Characteristic Curve``; may be empty.
        page: Text of the evaluation page: Markdown, HTML or plain.

    Raises:
        MetricError: None is named that this version knows, or several are.
    """
    by_label = _of_label(label)
    if by_label is not None:
        k = _number_after(by_label.name, page) if by_label.name.endswith("@k") else None
        return NamedMetric(by_label.name.replace("@k", f"@{k}") if k else by_label.name, by_label.words)
    says = [_distinct(_mentions(sentence)) for sentence in _sentences(page) if _SAYS.search(sentence)]
    scored = _distinct(mention for mentions in says for mention in mentions)
    # The first sentence that says how it is scored: later ones explain what else there would be.
    first = next((mentions for mentions in says if mentions), [])
    anywhere = _distinct(_mentions(page))
    for mentions in (scored, first, anywhere):
        if len(mentions) == 1:
            return _of_logarithms(mentions[0], page)
    raise _undecided(label, scored or anywhere)


def _of_label(label: str) -> NamedMetric | None:
    try:
        return NamedMetric(canonical_name(label), label)
    except MetricError:
        mentions = list(_mentions(label))
    if len(mentions) != 1:
        return None
    rest = set(_WORD.findall(_plain(label).casefold())) - set(mentions[0].words.split())
    return NamedMetric(mentions[0].name, label) if rest <= _PADDING else None


def _of_logarithms(found: NamedMetric, page: str) -> NamedMetric:
    """An RMSE of logarithms is the RMSLE."""
    if found.name == "rmse" and _OF_LOGARITHMS.search(_plain(page)):
        return NamedMetric("rmsle", f"{found.words} of logarithms")
    return found


def _undecided(label: str, mentions: Sequence[NamedMetric]) -> MetricError:
    names = [mention.name for mention in mentions]
    if names:
        return MetricError(
            f"the evaluation page names several metrics: {', '.join(names)}.",
            hint=f"Say which it is: --metric {names[0]}" + "".join(f", or --metric {name}" for name in names[1:]) + ".",
        )
    said = f"calls its metric {label!r}, which this version does not know" if label.strip() else "names no metric"
    known = ", ".join(name for name, _, _ in metric_names())
    return MetricError(
        f"the competition {said}.",
        hint=f"Say with --metric which of ours it is ({known}), or define it in a metric.py in the workspace.",
    )


def _distinct(mentions: Iterable[NamedMetric]) -> list[NamedMetric]:
    """One for each metric, in order; one with its number stands for the same without."""
    found: dict[str, NamedMetric] = {}
    for mention in mentions:
        family = mention.name.partition("@")[0]
        if family not in found or found[family].name.endswith("@k"):
            found[family] = mention
    return list(found.values())


def _mentions(text: str) -> Iterator[NamedMetric]:
    """The metrics that a text names, the longest spelling at each place."""
    words = _WORD.findall(_plain(text).casefold())
    place = 0
    while place < len(words):
        for length in range(min(_longest(), len(words) - place), 0, -1):
            said = tuple(words[place : place + length])
            name = _spellings().get(said)
            if name is not None and (not place or words[place - 1] not in _MODIFIERS):
                k = _k_at(words, place + length) if name.endswith("@k") else None
                yield NamedMetric(name.replace("@k", f"@{k}") if k else name, " ".join(said))
                place += length
                break
        else:
            place += 1


def _k_at(words: Sequence[str], place: int) -> int | None:
    following = words[place : place + 2]
    if len(following) == 2 and following[0] in ("@", "at", "for", "top") and following[1].isdecimal():
        return int(following[1])
    return None


def _number_after(name: str, page: str) -> int | None:
    """The k that a page gives to a metric whose label leaves it open."""
    family = name.partition("@")[0]
    known = (mention.name for mention in _mentions(page) if mention.name.partition("@")[0] == family)
    return next((int(found.partition("@")[2]) for found in known if not found.endswith("@k")), None)


def _plain(text: str) -> str:
    for pattern, put in _MARKUP:
        text = pattern.sub(put, text)
    return text.replace("’", "'").replace("'s", "s")


def _sentences(page: str) -> list[str]:
    return [sentence for sentence in _SENTENCE.split(_plain(page)) if sentence.strip()]


@cache
def _spellings() -> dict[tuple[str, ...], str]:
    """Every way to say a metric as words, to its name; several words may be written as one."""
    pairs = [(spelling, name) for name, aliases, _ in metric_names() for spelling in (name, *aliases)]
    found: dict[tuple[str, ...], str] = {}
    for spelling, name in [*pairs, *_PHRASES]:
        words = tuple(_WORD.findall(spelling.casefold().replace("_", " ").removesuffix("@k")))
        for said in (words, (normal_name("".join(words)),)):
            if said[-1] and not (len(said) == 1 and said[0] in _TOO_SHORT and not name.endswith("@k")):
                found.setdefault(said, name)
    # ``map`` alone is a word of everyday; with its number behind it is the metric, which ``mapk`` is as well.
    found.pop(("map",), None)
    found[("map", "@")] = "map@k"
    return found


@cache
def _longest() -> int:
    return max(map(len, _spellings()))
