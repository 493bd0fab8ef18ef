"""How commands look: options in groups, exit status, and the way to give one again."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

__all__ = ["INTERRUPTED", "PROGRAM", "Command", "Group", "command_again"]

PROGRAM = "dask-pyramid"
INTERRUPTED = 130

_STATUS = (
    "Exit status: 0 done, 1 error, 2 wrong usage, 3 faults found, 130 interrupted, "
    "143 ended by SIGTERM."
)
_DEFAULTS = (
    "Defaults of --method, --chunks, --shards, --compressor, --ome-zarr-version, "
    "--memory-limit, --workers, --device, --gpu-memory-limit, --retries and --progress "
    "can be set in dask's configuration, section dask-pyramid."
)

# Names of parameters by group; what stands in none comes first.
_OPTIONS = {
    "Resampling": "to_scale factor shape isotropic zoom order anti_aliasing smooth by "
    "boundary only_plan",
    "Image": "axes scale translation unit name as_labels labels",
    "Levels": "method sigma scale_factors nodata skip_nan ignore mask",
    "Storage": "chunks shards compressors version",
    "What is written": "mode region units shard axis replace break_lock",
    "Machine": "memory_limit workers device gpu_memory_limit retries scheduler cluster "
    "cluster_options jobs wait cores bandwidth",
    "Stores": "endpoint anonymous source_endpoint source_anonymous",
    "Output": "as_json page picture progress quiet verbose debug",
}
_GROUP_OF = {name: group for group, names in _OPTIONS.items() for name in names.split()}

_COMMANDS = {
    "Make pyramids": "plan write plate resample labels compare",
    "Look and check": "info verify view thumbnail",
    "Change what is stored": "add-levels update append",
    "In parts, by other processes": "units finish",
}

_GIVEN = "dask_pyramid.arguments"


class Command(click.Command):
    """A command whose options are shown in groups."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options into the formatter, group by group."""
        found: dict[str, list[tuple[str, str]]] = {"Options": []}
        found |= {group: [] for group in _OPTIONS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                # Its name differs between releases of click.
                name = "debug" if "--help" in parameter.opts else parameter.name
                found[_GROUP_OF.get(name or "", "Options")].append(record)
        _write_groups(found, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an option that is a command leads there."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            verb = error.option_name.lstrip("-")
            if ctx.parent is None or verb not in getattr(
                ctx.parent.command, "commands", ()
            ):
                raise
            raise click.UsageError(
                f"No such option '--{verb}'; it is a command: {PROGRAM} {verb}", ctx
            ) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, and what a caller may rely on."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(_STATUS)


class Group(click.Group):
    """The command: a group that keeps what it was given, and shows groups."""

    command_class = Command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Return a context that knows the arguments as they were given."""
        given = list(args)
        made = super().make_context(info_name, args, parent, **extra)
        made.meta[_GIVEN] = given
        return made

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; one that writes nothing has nothing to tell of Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the commands into the formatter, group by group."""
        names = {name for names in _COMMANDS.values() for name in names.split()}
        others = [name for name in self.list_commands(ctx) if name not in names]
        groups = {group: names.split() for group, names in _COMMANDS.items()}
        found = {
            group: [
                (name, self.commands[name].get_short_help_str(limit=100))
                for name in members
                if name in self.commands
            ]
            for group, members in {**groups, "Other": others}.items()
        }
        _write_groups(found, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what holds for all commands."""
        for text in (_STATUS, _DEFAULTS):
            formatter.write_paragraph()
            formatter.write_text(text)


def _write_groups(
    groups: dict[str, list[tuple[str, str]]], formatter: click.HelpFormatter
) -> None:
    for group, rows in groups.items():
        if rows:
            with formatter.section(group):
                formatter.write_dl(rows)


def command_again(*, resumes: bool) -> str:
    """Return the command that was given, as a shell takes it.

    Parameters
    ----------
    resumes : bool
        Whether it needs ``--mode a`` to go on.
    """
    given = list(click.get_current_context().meta[_GIVEN])
    if resumes:
        while "--mode" in given:
            at = given.index("--mode")
            del given[at : at + 2]
        given = [word for word in given if not word.startswith("--mode=")]
        given += ["--mode", "a"]
    return shlex.join([PROGRAM, *given])
