"""Plain data between the driver and the workers of an objective."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

SEVERAL_VALUES: Final = "Cotune optimizes one number: return one, as a weighted sum"
"""Of a trial whose objective returned several."""


@dataclass(frozen=True)
class Source:
    """The place that a worker gets the objective from.

    Attributes:
        path: The user's script, absolute; "" of a function that was passed.
        name: Of the objective in the script, with dots where it is an attribute.
        content: The function that was passed, by cloudpickle.
        arguments: Of the script: its ``sys.argv[1:]``.
        made: Directories that an earlier import of the script has made.
    """

    path: str = ""
    name: str = ""
    content: bytes = b""
    arguments: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def again(self, facts: Facts) -> Source:
        """Return it for another import of the script."""
        return replace(self, made=tuple({*self.made, *facts.made}))


@dataclass(frozen=True)
class Facts:
    """The facts known once a worker has loaded the objective.

    Attributes:
        no_forks: Why other workers cannot be forks of this one; "" where they can.
        made: Directories that the script made.
        direction: Of the script's own study: ``minimize`` or ``maximize``; None where there is
            no study, or more than one.
        is_on_server: The script loads its study from a server, which is not asked.
        n_objectives: Of the script's own study.
        enqueued: Parameters and user attributes of the trials that the script enqueued.
        user_attrs: Of the script's own study.
        remarks: What is taken for granted, a line each.
    """

    no_forks: str = ""
    made: tuple[str, ...] = ()
    direction: str | None = None
    is_on_server: bool = False
    n_objectives: int = 1
    enqueued: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()
    user_attrs: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
