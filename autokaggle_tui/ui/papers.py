"""Which published texts belong together on a round's screen, and what is said of those that are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.roundfiles import Text, read_text
from autokaggle_tui.ui.widgets.document import Paper

DOCUMENT_CAP = 200_000
PAPERS: Mapping[str, Sequence[tuple[str, str]]] = {
    "plan": (
        ("eda.md", ""),
        ("plan.md", "No plan yet: the Builder writes it in phase plan."),
        ("research_brief.md", "No research brief: the Researcher writes it in phase research."),
        ("retro.md", ""),
    ),
    "review": (
        ("review.md", "No review yet: the Reviewer writes it in phase review."),
        ("verify.md", "No verdict on the result yet: the Reviewer writes it in phase verify."),
    ),
    "findings": (("findings.md", "No findings yet: the Builder writes them in phase findings, after the run."),),
}
"""What each tab shows: suffixes of files, and what is said of one that is missing (nothing: it is left out)."""
OUTSIDE = {
    "try": "Tried by hand, outside the rounds: nobody planned or reviewed it.",
    "imported": "Imported predictions: nobody planned or reviewed them here.",
    "closing": "Fitted when the run ended, outside the rounds: nobody planned or reviewed it.",
}


def read_papers(dossier: Dossier) -> dict[str, Text]:
    """The texts of all tabs by suffix, as far as they are published."""
    wanted = {suffix for papers in PAPERS.values() for suffix, _ in papers}
    return {file.suffix: read_text(file.path, DOCUMENT_CAP) for file in dossier.files if file.suffix in wanted}


def papers_of(tab: str, dossier: Dossier, texts: Mapping[str, Text]) -> list[Paper]:
    """What a tab shows of a round or experiment."""
    if dossier.source in OUTSIDE:
        return [Paper("", None, OUTSIDE[dossier.source])]
    if dossier.round == 0:
        if tab != "plan":
            return [Paper("", None, "Round 0 looks at the data: nothing is planned, reviewed or run.")]
        return [Paper(f"{dossier.name}_eda.md", texts.get("eda.md"), "No EDA yet: the Builder writes it in phase eda.")]
    papers = []
    for suffix, missing in PAPERS[tab]:
        text = texts.get(suffix)
        if text is not None or missing:
            papers.append(Paper(f"{dossier.name}_{suffix}", text, missing))
    return papers
