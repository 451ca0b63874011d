"""Write all files of a study's report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from research.report.rendering import Picture, embed_figure, page_environment
from research.studies.outcomes import StudyOutcomes
from research.studies.report import notation
from research.studies.report.contents import TEXTS_SPLIT, Contents, collect_contents
from research.studies.report.figures import Styles, arm_curves_figure, cost_figure, intervals_figure
from research.studies.report.hparams import write_hparams
from research.studies.report.markdown import markdown_report
from research.studies.report.results import RESULTS, results_csv
from research.studies.report.styles import arm_styles
from research.studies.statistics.over_rows import SCOPE
from research.system.durable import write_text

REPORT, MARKDOWN = "report.html", "report.md"


def write_study_report(study: StudyOutcomes, *, show_texts: bool = True) -> Path:
    """Write report.html, report.md, results.csv and tensorboard/ of a study, and return the path of report.html.

    If a part needs something that is not available (predictions on another machine, deleted texts), the report shows
    the reason instead.

    Args:
        study: outcomes of the study, which need not be finished.
        show_texts: whether the page shows texts of rows.
    Raises:
        StorageError: if the files cannot be written.
    """
    return write_contents(collect_contents(study, show_texts=show_texts))


def write_contents(contents: Contents) -> Path:
    """Write the report from contents that are already collected, and return the path of report.html.

    Raises:
        StorageError: if the files cannot be written.
    """
    study = contents.study
    path = study.directory / REPORT
    write_text(path, _render_page(contents))
    write_text(study.directory / MARKDOWN, markdown_report(contents))
    write_text(study.directory / RESULTS, results_csv(study))
    write_hparams(study, list(contents.settings.differing))
    return path


def _render_page(contents: Contents) -> str:
    environment = page_environment("research.studies.report")
    environment.filters |= {
        "decimal": notation.format_decimal,
        "interval": notation.format_interval,
        "p_value": notation.format_p_value,
        "count": notation.format_thousands,
        "seconds": notation.format_seconds,
    }
    study = contents.study
    styles = arm_styles(study.arms)
    return environment.get_template("study.html").render(
        name=study.spec.name,
        contents=contents,
        study=study,
        spec=study.spec,
        styles=styles,
        intervals=_draw_intervals(contents, styles),
        curves=list(_draw_curves(contents, styles)),
        costs=list(_draw_costs(contents, styles)),
        scope=SCOPE,
        texts_split=TEXTS_SPLIT,
    )


def _draw_intervals(contents: Contents, styles: Styles) -> Picture | None:
    if all(each.summary.mean is None for each in contents.ranked):
        return None
    label = f"{contents.metric} on {contents.study.spec.split} rows"
    return embed_figure(
        "Means, confidence intervals and seeds",
        intervals_figure(contents.ranked, styles, contents.study.baseline, label),
    )


def _draw_curves(contents: Contents, styles: Styles) -> Iterator[Picture]:
    if contents.loss_curves:
        figure = arm_curves_figure(contents.loss_curves, contents.edits, styles, "training loss")
        yield embed_figure("Training loss", figure)
    if contents.validation_curves:
        title = f"Validation {contents.metric}"
        yield embed_figure(title, arm_curves_figure(contents.validation_curves, contents.edits, styles, title))


def _draw_costs(contents: Contents, styles: Styles) -> Iterator[Picture]:
    values = {each.arm: each.values for each in contents.ranked}
    if contents.costs and values:
        label = f"{contents.metric} on {contents.study.spec.split} rows"
        yield embed_figure(
            f"{contents.metric} against time", cost_figure(contents.costs, values, styles, label, "seconds")
        )
        yield embed_figure(
            f"{contents.metric} against trainable parameters",
            cost_figure(contents.costs, values, styles, label, "parameters"),
        )
