"""Means, intervals, and what has no value."""

import json

import numpy as np
import pytest

from keras_sep.evaluation.results import Evaluation, MixtureScores, summarize


def evaluation(values, reason="silent reference"):
    """Scores of mixtures named 0, 1 …; NaN has none."""
    return Evaluation(
        ("sdri",),
        [
            MixtureScores(str(index), 2.0, None, {}, {"sdri": reason})
            if np.isnan(value)
            else MixtureScores(str(index), 2.0, [1, 0], {"sdri": value}, {})
            for index, value in enumerate(values)
        ],
    )


@pytest.mark.parametrize(("number", "spread"), [(50, 0.1), (400, 4.0)])
def test_interval_against_that_of_a_normal_mean(number, spread):
    values = 7.0 + spread * np.random.default_rng(1).normal(size=number)
    row = summarize(values)
    half = 1.96 * values.std() / np.sqrt(number)
    low, high = row["interval_95"]
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert row["mean"] == pytest.approx(values.mean(), abs=1e-4)
    assert row["quartiles"] == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]), abs=1e-4)
    assert row == summarize(values)


def test_mixtures_without_value_count_for_nothing():
    with_gaps = evaluation([3.0, np.nan, 1.0, np.nan, 2.0])
    assert with_gaps.summary() == evaluation([3.0, 1.0, 2.0]).summary()
    assert with_gaps.summary()["sdri"]["mixtures"] == 3
    assert with_gaps.problems() == {("sdri", "silent reference"): 2}
    assert with_gaps.worst(2, "sdri") == [2, 4]
    assert with_gaps.worst(9, "sdri") == [2, 4, 0]


def test_no_values_at_all():
    assert evaluation([np.nan]).summary() == {
        "sdri": {"mixtures": 0, "mean": None, "interval_95": None, "quartiles": None}
    }
    assert evaluation([np.nan]).worst(5, "sdri") == []


def test_json():
    report = json.loads(json.dumps(evaluation([3.00001, np.nan]).to_dict(), allow_nan=False))
    assert report["summary"]["sdri"]["mean"] == 3
    assert report["mixtures"] == [
        {"name": "0", "seconds": 2.0, "order": [1, 0], "sdri": 3.0},
        {
            "name": "1",
            "seconds": 2.0,
            "order": None,
            "sdri": None,
            "problems": {"sdri": "silent reference"},
        },
    ]
