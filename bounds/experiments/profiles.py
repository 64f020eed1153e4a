"""The people of ``sleep``: profiles of the LifeSnaps study (toymdp/corpora/SOURCE.md), on [0, 1]."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np

from toymdp.arrays import Array

NIGHTS = 7  # fewer say little of how much a person's sleep varies
BOUNDS = {"<19": 18.0, ">=25": 27.0, ">=30": 32.0}  # body-mass index of the open classes
# what 0 and 1 stand for: body-mass index, hours of sleep, their standard deviation
LEAST, MOST = np.array([18.0, 4.5, 0.5]), np.array([32.0, 9.0, 3.5])


def profiles() -> Array:
    """[n, 4]: age (0 below 30, 1 above), body-mass index, hours of sleep, their spread."""
    text = (files("toymdp") / "corpora" / "lifesnaps_profiles.csv").read_text(encoding="utf-8")
    people = [r for r in csv.DictReader(text.splitlines()) if int(r["nights"]) >= NIGHTS]
    measured = [
        (BOUNDS.get(r["bmi"]) or float(r["bmi"]), float(r["hours"]), float(r["spread"]))
        for r in people
    ]
    scaled = np.clip((np.array(measured) - LEAST) / (MOST - LEAST), 0.0, 1.0)
    old = np.array([[float(r["age"] == ">=30")] for r in people])
    return np.hstack([old, scaled])
