"""The rules, by what they look at; importing this package registers them."""

from harness.lint.rules import (  # noqa: F401
    constants,
    devices,
    epsilons,
    idle,
    integers,
    interface,
    operations,
    opsets,
    states,
)
