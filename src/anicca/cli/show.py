"""`anicca show`: the merged spec of a host, and where each value was said."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (click reads it)
from typing import TYPE_CHECKING, NamedTuple, assert_never

import click

from anicca.cli.context import HOST_FILE, Context, evaluate
from anicca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.declare.spec import EntrySpec, PersistSpec, Spec, UserSpec


@click.command
@click.argument("host", type=HOST_FILE, metavar="HOST.py")
@click.option("--origins", is_flag=True, help="Say for each value in which lines it was said.")
@click.option("--file", "file", metavar="PATH", help="Print the content of one declared file and nothing else.")
@click.pass_obj
def show(context: Context, *, host: Path, origins: bool, file: str | None) -> None:
    """Show the merged spec of the host that HOST.py declares. Builds nothing and needs no lock."""
    from anicca.declare.spec import to_value  # noqa: PLC0415

    spec = evaluate(context, host)
    if file is not None:
        sys.stdout.buffer.write(content_of(spec, file))
        return
    record = to_value(spec)
    if origins:
        record["origins"] = {option: [str(place) for place in places] for option, places in spec.origins.items()}
    context.print(record, "\n".join(render(spec, origins=origins)))


class Row(NamedTuple):
    """One line: what it is about, its value, and the option that said so."""

    label: str
    value: str
    option: str


def content_of(spec: Spec, path: str) -> bytes:
    """The content of a declared file or unit. Raises `UsageError` with near names if there is none."""
    from anicca.declare.ids import near  # noqa: PLC0415
    from anicca.declare.spec import FileSpec  # noqa: PLC0415

    contents = {entry.path: entry.content for entry in spec.files if isinstance(entry, FileSpec)}
    for unit in spec.units:
        if unit.content is not None:
            contents[f"/etc/systemd/system/{unit.name}"] = unit.content.encode()
    if path not in contents:
        raise UsageError(f"{path} is not a declared file", hint=near(path, contents))
    return contents[path]


def render(spec: Spec, *, origins: bool) -> Iterator[str]:
    """The spec as lines for people: a heading and rows for each kind."""
    for heading, rows in sections(spec):
        if not rows:
            continue
        yield heading
        label_width = max(len(row.label) for row in rows)
        value_width = max(len(row.value) for row in rows)
        for row in rows:
            line = f"  {row.label:<{label_width}}  {row.value:<{value_width}}"
            if origins:
                line += "  " + ", ".join(map(str, spec.origins.get(row.option, ())))
            yield line.rstrip()


def sections(spec: Spec) -> Iterator[tuple[str, list[Row]]]:
    """All that a spec holds, by kind."""
    yield "host", list(_host(spec))
    yield "packages", [Row(name, "", _package_option(spec, name)) for name in spec.packages]
    yield "users", [Row(user.name, _user(user), f"users[{user.name}]") for user in spec.users]
    yield "groups", [Row(group.name, " ".join(group.members), f"groups[{group.name}]") for group in spec.groups]
    yield "files", [Row(entry.path, _entry(entry), f"files[{entry.path}]") for entry in spec.files]
    yield (
        "units",
        [
            Row(unit.name, unit.state + (", declared" if unit.content is not None else ""), f"units[{unit.name}]")
            for unit in spec.units
        ],
    )
    yield "persist", [Row(kept.path, _kept(kept), f"persist[{kept.path}]") for kept in spec.persist]


def _host(spec: Spec) -> Iterator[Row]:
    yield Row("name", spec.name, "name")
    yield Row("release", spec.release, "release")
    yield Row("architecture", spec.architecture, "architecture")
    yield Row("components", " ".join(spec.components), "components")
    yield Row("kernel", " ".join((spec.kernel.package, *spec.kernel.parameters)), "kernel")
    yield Row("timezone", spec.timezone, "timezone")
    yield Row("locale", spec.locale, "locale")
    yield Row("root", f"{spec.root.backend} {spec.root.mount_options}", "root")
    for name, size in (("esp", spec.disk.esp_bytes), ("nix", spec.disk.nix_bytes), ("root", spec.disk.root_bytes)):
        yield Row(f"disk {name}", f"{size >> 20} MiB", f"disk.{name}")
    if spec.snapshot is not None:
        yield Row("snapshot", spec.snapshot, "snapshot")


def _package_option(spec: Spec, name: str) -> str:
    option = f"packages[{name}]"
    return "kernel" if name == spec.kernel.package and option not in spec.origins else option


def _user(user: UserSpec) -> str:
    groups = f", in {' '.join(user.groups)}" if user.groups else ""
    return f"{user.home} {user.shell}{groups}, {len(user.ssh_keys)} ssh keys"


def _entry(entry: EntrySpec) -> str:
    from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec  # noqa: PLC0415

    match entry:
        case FileSpec():
            return f"file {entry.owner}:{entry.group} {entry.mode:04o}, {len(entry.content)} bytes"
        case LinkSpec():
            return f"link to {entry.target}"
        case DirectorySpec():
            return f"directory {entry.owner}:{entry.group} {entry.mode:04o}"
        case _:
            assert_never(entry)


def _kept(kept: PersistSpec) -> str:
    kind = "file" if kept.kind == "f" else "directory"
    if kept.owner is None and kept.group is None and kept.mode is None:
        return f"{kind} as in the tree"
    mode = "as in the tree" if kept.mode is None else f"{kept.mode:04o}"
    return f"{kind} {kept.owner or '(tree)'}:{kept.group or '(tree)'} {mode}"
