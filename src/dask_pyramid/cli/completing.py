"""The command `completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dask_pyramid.cli.commands import PROGRAM, Command

__all__ = ["completion"]

_VARIABLE = "_DASK_PYRAMID_COMPLETE"


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  source <(dask-pyramid completion bash)
  source <(dask-pyramid completion zsh)
  dask-pyramid completion fish | source""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and files in a shell."""
    found = get_completion_class(shell)
    assert found is not None  # click knows the three
    click.echo(found(ctx.find_root().command, {}, PROGRAM, _VARIABLE).source())
