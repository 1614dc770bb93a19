"""Tables of hyperparameters, made from what the trainer knows and from the presets.

```{hyperparameters}        one `name: meaning` a line; types and ranges are the trainer's
```{preset} mlp             what a preset searches
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from cotune.space.hyperparameters import KNOWN, NAMES, HyperparameterSpec
from cotune.space.presets import PRESETS
from cotune.space.space import describe
from cotune.text import shown_value


class Hyperparameters(SphinxDirective):
    """All hyperparameters, with the meanings that the page gives them."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the table; a name that is missing or unknown is an error."""
        meanings = dict(line.split(": ", 1) for line in self.content if line)
        if differing := set(meanings) ^ set(NAMES):
            raise self.error(f"missing or unknown: {', '.join(sorted(differing))}")
        headings = ["name", "meaning", "default", "values", "lanes may differ"]
        return _table(self, headings, (_row(name, meanings[name]) for name in meanings))


class Preset(SphinxDirective):
    """What a preset searches."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        space = PRESETS[self.arguments[0]]()
        rows = [
            [
                f"`{name}`",
                describe(one.distribution),
                " and ".join(
                    f"`{parent}` is {' or '.join(map(shown_value, values))}"
                    for parent, values in one.when.items()
                ),
            ]
            for name, one in space.searched.items()
        ]
        return _table(self, ["name", "searched", "only where"], rows)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("hyperparameters", Hyperparameters)
    app.add_directive("preset", Preset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _row(name: str, meaning: str) -> list[str]:
    known = KNOWN[name]
    names = f"`{name}`, `{name}_0`, ..." if known.per_layer else f"`{name}`"
    return [names, meaning, shown_value(known.default), _values(known), _yes(known.fusible)]


def _values(known: HyperparameterSpec) -> str:
    if known.choices:
        return ", ".join(map(shown_value, known.choices))
    return f"{shown_value(known.low)} to {shown_value(known.high)}"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _table(
    directive: SphinxDirective, headings: Sequence[str], rows: Iterable[Sequence[str]]
) -> list[nodes.Node]:
    lines = [headings, ["---"] * len(headings), *rows]
    return directive.parse_text_to_nodes("\n".join(f"| {' | '.join(line)} |" for line in lines))
