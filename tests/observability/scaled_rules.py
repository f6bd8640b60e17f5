"""Alert rules with all durations shortened by one factor, so that a drill need not last for hours. Thresholds stay."""

import re

import yaml

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])\b")
_WINDOW = re.compile(r"\[[^\]]+\]")


def scaled(text, factor):
    """Give the text of a rules file with each window, `for` and interval divided by a factor."""
    document = yaml.safe_load(text)
    for group in document["groups"]:
        group["interval"] = _shorter(group["interval"], factor)
        for rule in group["rules"]:
            rule["expr"] = _WINDOW.sub(lambda found: _shorter(found[0], factor), rule["expr"])
            rule["for"] = _shorter(rule["for"], factor)
    return yaml.safe_dump(document, sort_keys=False)


def _shorter(text, factor):
    return _DURATION.sub(lambda found: f"{round(int(found[1]) * _UNITS_S[found[2]] * 1000 / factor)}ms", text)
