"""The position within a run, and the format of times in settings."""

from __future__ import annotations

import json

import pytest

from research.settings.times import Clock, parse_time


def clock_of_two_epochs() -> Clock:
    """Return the clock of a new run. Each of its two epochs has ten steps of 10 examples and a last step of 3."""
    return Clock.of_run(num_examples=103, batch_size=10, epochs=2.0, max_steps=None)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("120st", 120),
        ("0.25ep", 3),
        ("1ep", 11),
        ("50%", 11),
        ("20000ex", 2136),  # 194 epochs of 11 steps, and 18 examples
        ("100ex", 10),
        ("103ex", 11),
        ("206ex", 22),
        ("0", 0),
        ("0%", 0),
        (" 5 st ", 5),
    ],
)
def test_parsed_time_converts_to_steps(text: str, steps: int) -> None:
    assert parse_time(text).to_steps(clock_of_two_epochs()) == steps


@pytest.mark.parametrize("text", ["50", "fast", "-1st", "1 epoch", ""])
def test_parse_time_explains_the_format(text: str) -> None:
    with pytest.raises(ValueError, match=rf"'{text}'.*120st.*0\.25ep.*50%.*20000ex"):
        parse_time(text)


@pytest.mark.parametrize("text", ["1.5st", "2.5ex", "101%"])
def test_parse_time_rejects_fractional_steps_fractional_examples_and_more_than_100_percent(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}'"):
        parse_time(text)


def test_period_is_at_least_one_step_and_rejects_a_time_of_0() -> None:
    assert parse_time("1%").to_period(clock_of_two_epochs()) == 1
    with pytest.raises(ValueError, match=r"\b0\b.* 0%"):
        parse_time("0%").to_period(clock_of_two_epochs())


def test_clock_counts_the_smaller_last_step_of_an_epoch_as_a_step() -> None:
    assert (clock_of_two_epochs().steps_per_epoch, clock_of_two_epochs().total_steps) == (11, 22)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "total"), [(0.5, None, 6), (0.001, None, 1), (3.0, None, 33), (1.0, 4, 4)]
)
def test_total_steps_follow_from_fractional_epochs_or_max_steps(
    epochs: float, max_steps: int | None, total: int
) -> None:
    # An epoch has 11 steps.
    new_clock = Clock.of_run(num_examples=103, batch_size=10, epochs=epochs, max_steps=max_steps)
    assert new_clock.total_steps == total


def test_clock_advances_through_epochs() -> None:
    running = clock_of_two_epochs()
    for num_examples in [10] * 10 + [3]:
        running.advance(num_examples)
    assert (running.step, running.step_in_epoch, running.epochs_done, running.num_examples_seen) == (11, 11, 1.0, 103)
    running.start_next_epoch()
    running.advance(10)
    assert (running.epoch, running.step_in_epoch, running.step) == (1, 1, 12)
    assert running.epochs_done == pytest.approx(1 + 1 / 11)


def test_clock_restores_its_state_unless_the_run_has_a_different_length() -> None:
    running, resumed = clock_of_two_epochs(), clock_of_two_epochs()
    running.advance(10)
    resumed.load_state_dict(json.loads(json.dumps(running.state_dict())))
    assert resumed == running
    shorter_clock = Clock.of_run(num_examples=50, batch_size=10, epochs=1.0, max_steps=None)
    with pytest.raises(ValueError, match=r"steps_per_epoch 11\b.* 5\b"):
        shorter_clock.load_state_dict(running.state_dict())


@pytest.mark.parametrize("text", ["0.0001ep", "10%", "100st", "1000000ex", "0.333ep"])
@pytest.mark.parametrize("denominator", [3, 7, 11])
def test_fraction_of_a_time_survives_a_round_trip_through_a_string(text: str, denominator: int) -> None:
    fraction = parse_time(text).fraction(1, denominator)
    parsed_again = parse_time(str(fraction))
    assert parsed_again.unit == fraction.unit
    assert parsed_again.value == pytest.approx(fraction.value, abs=1e-12)


def test_a_run_on_an_unknown_number_of_rows_is_one_epoch() -> None:
    clock = Clock.of_run(num_examples=None, batch_size=10, epochs=3.0, max_steps=40)
    assert (clock.steps_per_epoch, clock.total_steps) == (40, 40)
    assert [parse_time(text).to_steps(clock) for text in ("8st", "50%", "100ex")] == [8, 20, 10]
    with pytest.raises(ValueError, match=r"steps, percent or examples.*0\.5ep"):
        parse_time("0.5ep").to_steps(clock)
    with pytest.raises(ValueError, match="--max_steps"):
        Clock.of_run(num_examples=None, batch_size=10, epochs=3.0, max_steps=None)
