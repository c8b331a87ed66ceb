"""``mngr codex trust``: shows and revokes the remembered answers to "Trust this directory?"."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.api.providers import get_provider_instance
from imbue.mngr.cli.common_opts import setup_command_context
from imbue.mngr.cli.output_helpers import write_human_line
from imbue.mngr.config.data_types import CommonCliOptions
from imbue.mngr.errors import UserInputError
from imbue.mngr.interfaces.host import OnlineHostInterface
from imbue.mngr.primitives import LOCAL_PROVIDER_NAME, HostName, OutputFormat

from mngr_codex.plugin.home.trusted_folders import TrustedFolders
from mngr_codex.plugin.home.work_dir_trust import covered_folder

if TYPE_CHECKING:
    import click
    from imbue.mngr.config.data_types import MngrContext


class RevokeOptions(CommonCliOptions):
    """The options of ``mngr codex trust revoke``."""

    path: str | None
    revokes_all: bool


def show(ctx: click.Context) -> None:
    """Prints the trusted folders.

    Raises:
        UserInputError: The file of a folder cannot be read or is damaged.
    """
    mngr_ctx, output, _ = setup_command_context(ctx, "codex-trust-list", CommonCliOptions)
    folders = list(TrustedFolders(mngr_ctx.profile_dir))
    if output.output_format is OutputFormat.JSON:
        print(json.dumps([asdict(folder) for folder in folders], indent=2))
    elif output.output_format is OutputFormat.JSONL:
        for folder in folders:
            print(json.dumps(asdict(folder)))
    elif folders:
        for folder in folders:
            since = datetime.fromisoformat(folder.since).astimezone()
            write_human_line("{}  since {}", folder.folder, since.strftime("%Y-%m-%d %H:%M"))
    else:
        write_human_line("no folder is trusted; `mngr create` asks about each")


def revoke(ctx: click.Context) -> None:
    """Forgets one trusted folder, or all of them.

    Raises:
        UserInputError: The folder is not trusted, or its file cannot be removed.
    """
    mngr_ctx, output, options = setup_command_context(ctx, "codex-trust-revoke", RevokeOptions)
    if options.revokes_all == (options.path is not None):
        raise UserInputError("cannot revoke trust: give either a PATH or --all")
    folders = TrustedFolders(mngr_ctx.profile_dir)
    folder = None if options.path is None else Path(options.path).expanduser().absolute()
    try:
        revoked = folders.clear() if folder is None else sum(map(folders.remove, _names(folder, mngr_ctx)))
    except OSError as error:
        raise UserInputError(f"cannot remove {error.filename}: {error.strerror}") from None
    if not revoked and folder is not None:
        raise UserInputError(
            f"cannot revoke trust in {folder}: it is not trusted\n"
            "hint: `mngr codex trust list` shows the trusted folders"
        )
    if output.output_format is OutputFormat.HUMAN:
        what = folder or f"{revoked} folder{'' if revoked == 1 else 's'}"
        write_human_line("revoked trust in {}; existing agents keep running", what)
    else:
        print(json.dumps({"revoked": revoked}))


def _names(folder: Path, mngr_ctx: MngrContext) -> set[str]:
    """Returns the names that a folder can be remembered by; the folder need not exist any more."""
    host = get_provider_instance(LOCAL_PROVIDER_NAME, mngr_ctx).get_host(HostName("localhost"))
    assert isinstance(host, OnlineHostInterface), "the local host is always online"
    return {str(folder), str(folder.resolve()), *filter(None, [covered_folder(host, folder)])}
