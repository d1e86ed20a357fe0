"""What is kept, beside what the tree has at the same path."""

from pathlib import Path
from typing import Any

import pytest
from declared import Layout
from manifest import Entry

from anicca.system.builders.seed import kept


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(entries={}, contents=tmp_path, epoch=1)
    made.directory("/var/log/nginx", "root", "adm", 0o755)
    made.link("/var/run", "/run")
    made.file("/var/lib/seed", b"x")
    return made


def keep(layout: Layout, path: str, kind: str = "d", **more: str) -> Entry:
    record: dict[str, Any] = {"path": path, "kind": kind, "owner": None, "group": None, "mode": None, **more}
    return kept(record, layout)


def test_what_is_not_said_is_as_in_the_tree(layout: Layout) -> None:
    entry = keep(layout, "/var/log/nginx")
    assert (entry.user, entry.group, entry.mode) == ("root", "adm", 0o755)


def test_what_is_said_counts(layout: Layout) -> None:
    entry = keep(layout, "/var/log/nginx", owner="ann", mode="0700")
    assert (entry.user, entry.group, entry.mode) == ("ann", "adm", 0o700)


def test_a_new_path_is_roots(layout: Layout) -> None:
    entry = keep(layout, "/var/lib/notes")
    assert (entry.kind, entry.user, entry.group, entry.mode) == ("directory", "root", "root", 0o755)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/var/run/notes", "d", "/var/run is a symlink of the tree, not a directory"),
        ("/var/lib/seed", "d", "/var/lib/seed: is a file in the tree, declared as a directory"),
        ("/var/run", "f", "/var/run: is a symlink in the tree, declared to persist as a file"),
    ],
)
def test_what_does_not_fit_the_tree_is_refused_at_build(layout: Layout, path: str, kind: str, words: str) -> None:
    with pytest.raises(SystemExit, match="does not fit the tree") as refused:
        keep(layout, path, kind)
    assert words in str(refused.value)
