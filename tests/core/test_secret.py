from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback
from collections.abc import Callable

import orjson
import pytest

from harvester.core.secret import Secret

VALUE = "0123456789abcdef0123456789abcdef"


@dataclasses.dataclass
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{:>40}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: repr([secret, {"a": secret}, Holder(secret)]),
        lambda secret: repr(dir(secret)),
    ],
)
def test_no_way_of_printing_shows_the_value(show: Callable[[Secret], str]) -> None:
    """No form of printing shows the value."""
    assert VALUE not in show(Secret(VALUE))


def spend(secret: Secret) -> int:
    """Raise ValueError in a frame that holds a secret."""
    return int(f"{secret}")


def test_a_traceback_with_locals_hides_the_value() -> None:
    """A reporter that prints the variables of every frame does not see the value."""
    with pytest.raises(ValueError, match="invalid literal") as caught:
        spend(Secret(VALUE))
    report = traceback.TracebackException(
        ValueError, caught.value, caught.value.__traceback__, capture_locals=True
    )
    assert "secret = ***" in "".join(report.format())


@pytest.mark.parametrize(
    "carry", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, orjson.dumps]
)
def test_a_secret_cannot_be_copied_or_serialised(carry: Callable[[object], object]) -> None:
    """Pickling, copying and turning it into JSON raise TypeError."""
    with pytest.raises(TypeError):
        carry(Secret(VALUE))


def test_secrets_compare_by_value() -> None:
    """Two secrets of one value are the same key; another value and a plain text are not."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_reveal_gives_the_value() -> None:
    """`reveal` is the only method that returns the value."""
    assert Secret(VALUE).reveal() == VALUE
