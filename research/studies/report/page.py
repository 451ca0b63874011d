"""Write all files of a study's report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from research.report.rendering import Picture, embed_svg, page_environment
from research.studies.kept_models import count_removed_models
from research.studies.outcomes import StudyOutcomes
from research.studies.report import notation, second_opinions
from research.studies.report.contents import TEXTS_SPLIT, Contents, collect_contents
from research.studies.report.figures import Styles
from research.studies.report.hparams import write_hparams
from research.studies.report.markdown import markdown_report
from research.studies.report.paper import write_paper_files
from research.studies.report.pictures import StudyPicture, StudyPictures, draw_pictures
from research.studies.report.results import RESULTS, results_csv
from research.studies.report.search_page import draw_selection
from research.studies.report.second_opinions import COMPARISONS, comparisons_csv
from research.studies.report.styles import arm_styles
from research.studies.statistics.over_rows import SCOPE
from research.studies.worker import TRIALS
from research.system.durable import write_text
from research.system.scripts import script_argument

REPORT, MARKDOWN = "report.html", "report.md"


def write_study_report(study: StudyOutcomes, *, show_texts: bool = True) -> Path:
    """Write all files of a study's report, and return the path of report.html.

    They are report.html, report.md, results.csv, report/, tensorboard/ and, once a trial is finished, comparisons.csv.

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
    styles = arm_styles(study.arms)
    pictures = draw_pictures(contents, styles)
    selection_pictures = list(draw_selection(study.spec.selection, contents.metric))
    write_text(path, _render_page(contents, styles, pictures, selection_pictures))
    write_text(study.directory / MARKDOWN, markdown_report(contents))
    write_text(study.directory / RESULTS, results_csv(study))
    write_paper_files(contents, [*pictures, *selection_pictures])
    if contents.ranked:
        comparisons = comparisons_csv(contents.ranked, contents.second_opinions, contents.units)
        write_text(study.directory / COMPARISONS, comparisons)
    write_hparams(study, list(contents.settings.differing))
    return path


def _render_page(
    contents: Contents, styles: Styles, pictures: StudyPictures, selection_pictures: Sequence[StudyPicture]
) -> str:
    environment = page_environment("research.studies.report")
    environment.filters |= {
        "decimal": notation.format_decimal,
        "interval": notation.format_interval,
        "sort_key": notation.format_sort_key,
        "p_value": notation.format_p_value,
        "count": notation.format_thousands,
        "amount": notation.format_amount,
        "hours": notation.format_hours,
    }
    study, costs = contents.study, contents.costs
    return environment.get_template("study.html").render(
        name=study.spec.name,
        report_command=f"python {script_argument('report')} {shlex.quote(str(study.directory / TRIALS))}/TRIAL",
        num_without_model=count_removed_models(outcome.directory for outcome in study.finished),
        contents=contents,
        study=study,
        spec=study.spec,
        styles=styles,
        selection_pictures=_embed(selection_pictures),
        intervals=_embed(pictures.intervals),
        curves=_embed(pictures.curves),
        costs=_embed(pictures.costs),
        seconds_decimals=notation.seconds_decimals([cost.seconds for cost in costs]),
        hours_decimals=notation.column_decimals([cost.device_hours for cost in costs]),
        comparison_decimals=notation.column_decimals(
            [
                value
                for each in contents.model_comparisons
                if each.over_all_seeds is not None
                for value in (each.over_all_seeds.difference, *each.over_all_seeds.interval)
            ]
        ),
        scope=SCOPE,
        second_opinions=second_opinions,
        texts_split=TEXTS_SPLIT,
    )


def _embed(pictures: Iterable[StudyPicture]) -> list[Picture]:
    return [embed_svg(each.title, each.svg, each.alt) for each in pictures]
