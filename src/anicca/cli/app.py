"""The `anicca` command: global options, its commands by name, and the one place where errors become exit statuses."""

from __future__ import annotations

import errno
import io
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from anicca import __version__
from anicca.cli.context import Context
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "baseline": "keep the whole state of a filesystem in one file; see what became of it",
    "boot": "make a system the next boot's, and change nothing now",
    "build": "build the system that a host.py declares and print its store path",
    "classify": "say whether a host is divergent, convergent or congruent, from baselines over time",
    "demo": "build the example host, boot it, break it, and show that it comes back the same",
    "drift": "show what is on a filesystem that its system did not put there",
    "diff": "show how two systems differ",
    "gc": "drop old generations and remove from the store what nothing needs",
    "generations": "list this host's generations",
    "guard": "show what the guard of the root did, acknowledge it, take it to other hosts",
    "image": "write a bootable disk image of a host",
    "keep": "copy what is at a path into the persistent area, and say how to declare it",
    "lock": "pin every package and every uid and gid of a host",
    "lost": "tell what the last boots forgot",
    "orphans": "list what persists and no generation declares; set it aside",
    "report": "write a page about this host: its drift, what earlier boots forgot, what the guard did",
    "rescue": "put back a file that an earlier boot forgot",
    "rollback": "make an earlier generation the next boot's",
    "show": "show the merged spec of a host and where each value was said",
    "soft-reboot": "start a fresh root and a new userspace on the kernel that runs",
    "status": "tell what runs, boots next, persists, and waits for a restart or reboot",
    "store": "look into the store, check it, collect its garbage",
    "switch": "go live with a system, as a trial that goes back by itself",
    "test": "go live with a system, and leave what boots next as it is",
    "vm": "boot a host in a virtual machine, console on this terminal",
    "why": "say where a path comes from, or that nobody declared it",
}
"""Each is the function of that name in the module of that name, imported when it is used."""

BUG, INTERRUPTED = 70, 130
MACHINE_ERRORS = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EPERM, errno.EROFS}
)
"""What the system refuses for reasons that a person can see to, wherever it comes from."""


class Commands(click.Group):
    """A group whose commands are imported when used, so that `anicca --version` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        found: Any = getattr(import_module(f"anicca.cli.{name}"), name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list for `--help`, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    "store_root",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ANICCA_STORE",
    help="Keep the store in DIR/nix/store instead of /nix/store.",
    metavar="DIR",
)
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON, progress as JSON lines.")
@click.option("-v", "--verbose", count=True, help="Show what programs print.")
@click.version_option(__version__, prog_name="anicca", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context, *, store_root: Path | None, as_json: bool, verbose: int) -> None:
    """Congruent Debian hosts, declared in Python, on a root that forgets."""
    from anicca.cli.render import make_report  # noqa: PLC0415

    context.obj = Context(
        store_root=store_root,
        json=as_json,
        verbose=verbose,
        report=make_report(as_json=as_json, verbose=verbose, closer=context.call_on_close),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    if arguments is None and sys.argv[1:] == ["--version"]:
        click.echo(f"anicca {__version__}")
        return
    if arguments is None:
        _prepare_process()
    try:
        app.main(args=None if arguments is None else list(arguments), prog_name="anicca", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AniccaError as error:
        _fail(error)
    except BrokenPipeError:
        # Who read our output has seen enough. Nothing may be written to it at exit either.
        sys.stdout = None
        sys.exit(1)
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            _bug()
        hint = "this machine does not let us go on; make room or rights there and run it again"
        _fail(AniccaError(f"{error.filename or 'the output'}: {error.strerror}", hint=hint))
    except Exception:  # noqa: BLE001 (whatever it is, it is told to be a bug)
        _bug()


def _fail(error: AniccaError) -> NoReturn:
    from anicca.cli.render import show_error  # noqa: PLC0415

    show_error(error)
    sys.exit(error.exit_status)


def _bug() -> NoReturn:
    from anicca.cli.render import show_bug  # noqa: PLC0415

    show_bug()
    sys.exit(BUG)


def _prepare_process() -> None:
    """Make this process ours: it ends in good order when asked to, and prints whatever text there is."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        # What was started must end with us: programs run in sessions of their own, no hang-up reaches them.
        if signal.getsignal(sign) is signal.SIG_DFL:
            signal.signal(sign, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Not every locale has a check mark, and not every file's name is text.
        sys.stdout.reconfigure(errors="backslashreplace")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _interrupted() -> None:
    click.echo("interrupted; what was finished is kept, the next run goes on from there", err=True)
    sys.exit(INTERRUPTED)
