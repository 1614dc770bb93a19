"""The public surface is this list; every other name may change without notice."""

import inspect

import pytest

import cotune

PUBLIC = [
    "CotuneClassifier",
    "CotuneError",
    "DataError",
    "ModelFileError",
    "NoUsableTrialError",
    "RunResult",
    "SpaceError",
    "StorageError",
    "UsageError",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "load",
    "load_ensemble",
    "open_run",
    "optimize",
    "predict",
    "read",
    "resume",
    "run",
]


def test_all_is_the_list():
    assert sorted(cotune.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_has_its_own_docstring(name):
    thing = getattr(cotune, name)
    assert callable(thing)
    # inspect.getdoc would fall back to a base class.
    assert inspect.cleandoc(thing.__doc__ or "")


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if inspect.isclass(getattr(cotune, name, None))]
)
def test_methods_have_docstrings(name):
    members = vars(getattr(cotune, name))
    bare = [
        member
        for member, value in members.items()
        if not member.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
        and not value.__doc__
    ]
    assert bare == []
