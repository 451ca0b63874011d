"""Report obvious mistakes in the settings before torch and Transformers are imported, which takes seconds."""

from __future__ import annotations

from research.data.sources.encodings import check_encoding
from research.learning.calibration import CalibrationRequest
from research.records.tracker_names import check_tracker_names, read_tracker_names
from research.runner.first_checks.choices import check_choices
from research.runner.first_checks.paths import check_paths
from research.runner.first_checks.sharding import check_sharding
from research.runner.first_checks.streaming import check_streaming
from research.runner.first_checks.timeline import check_timeline
from research.runner.first_checks.windows import check_windows
from research.settings.config import RunConfig
from research.settings.declarations import PERIOD, TIME
from research.settings.flags import declaration_of, names_where
from research.settings.plugins import check_plugins
from research.settings.times import parse_time
from research.system.launcher import check_launch
from research.tasks.base import TASKS
from research.tasks.metric_names import check_metric_name


def check_first(config: RunConfig) -> None:
    """Check everything that can be checked without large libraries, data or a model.

    Raises:
        ValueError: if a setting is invalid; names the setting and its value.
    """
    check_launch()
    check_plugins(config.plugin)
    check_choices(config)
    check_times(config)
    check_timeline(config)
    check_windows(config)
    check_sharding(config)
    check_streaming(config)
    if config.encoding is not None:
        check_encoding(config.encoding)
    if config.best_metric is not None:
        check_metric_name(config.best_metric, config.task)
    request = CalibrationRequest.of(temperature=config.calibrate, thresholds=config.thresholds)
    if request is not None and config.task is not None and config.task in TASKS:  # otherwise, the task is not known yet
        request.check(TASKS[config.task], "calibrate")
    if trackers := read_tracker_names():
        check_tracker_names(config.log_with, trackers)
    check_paths(config)


def check_times(config: RunConfig) -> None:
    """Check that times and periods are valid, and that --patience is not used without evaluations.

    Raises:
        ValueError: if not; names the setting.
    """
    for name in names_where(lambda declared: declared.unit in (TIME, PERIOD)):
        text = getattr(config, name)
        if text is None:
            continue
        try:
            time = parse_time(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from None
        if time.value == 0 and declaration_of(name).unit == PERIOD:
            raise ValueError(f"Expected --{name} to be above 0; got '{text}'. Use null to turn it off.")
    if config.patience is not None and config.evaluate_every is None:
        raise ValueError(
            "--patience counts evaluations, but --evaluate_every null turns them off. Omit one of the two."
        )
