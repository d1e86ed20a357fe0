"""`anicca test`."""

from __future__ import annotations

from typing import Any

import click

from anicca.cli.switch import switch


def _try(**options: Any) -> None:
    assert switch.callback is not None
    switch.callback(only_try=True, **options)


test = click.Command(
    "test",
    params=[option for option in switch.params if option.name != "only_try"],
    callback=_try,
    help="Go live with SYSTEM as `anicca switch` does, but leave what boots next as it is.",
)
