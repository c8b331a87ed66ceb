"""``mngr codex recover``: fetches the transcripts and sessions that destroyed agents have left on a host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imbue.mngr.api.preservation import get_local_preserved_agent_dir_for_host
from imbue.mngr.cli.common_opts import setup_command_context
from imbue.mngr.cli.output_helpers import write_human_line
from imbue.mngr.config.data_types import CommonCliOptions
from imbue.mngr.errors import HostConnectionError, MngrError
from imbue.mngr.interfaces.host import HostFileReadInterface
from imbue.mngr.primitives import HostAddress, OutputFormat
from loguru import logger

from mngr_codex.plugin import set_aside, unfetched
from mngr_codex.plugin.cli import remote_agents
from mngr_codex.plugin.host.error_text import one_line
from mngr_codex.plugin.host.place import address_of
from mngr_codex.plugin.preservation import preserved_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface


class RecoverOptions(CommonCliOptions):
    """The options of ``mngr codex recover``."""

    host: HostAddress
    is_list: bool
    keeps: bool


def recover(ctx: click.Context) -> None:
    """Fetches or lists what is kept on a host.

    Raises:
        MngrError: There is no such host, it cannot be reached or read, or the files of an agent could not be copied.
    """
    mngr_ctx, output, options = setup_command_context(ctx, "codex-recover", RecoverOptions)
    host = _host(options.host, mngr_ctx)
    name = address_of(host)
    noted = unfetched.agents(mngr_ctx, host.id)
    try:
        listed = set_aside.retried(lambda: set_aside.find(host), host, f"cannot list what is kept on host {name}")
    except HostConnectionError as error:
        raise MngrError(
            f"cannot connect to {name}: {one_line(error)}\n"
            f"hint: run `mngr codex recover {name}` again when the host can be reached"
        ) from error
    found = set_aside.by_agent(listed)
    unfetched.remove(mngr_ctx, host.id, noted.keys() - {parts[-1].identity.agent_id for parts in found})
    results = []
    failed: list[str] = []
    is_lost = False
    for parts in found:
        identity = parts[-1].identity
        if not options.is_list:
            try:
                if is_lost:
                    raise MngrError("the host cannot be reached")
                set_aside.bring_here(host, mngr_ctx, parts, preserved_items(), keeps=options.keeps)
            except (MngrError, OSError) as error:
                is_lost = is_lost or isinstance(error, HostConnectionError)
                failed.append(str(identity.agent_name))
                logger.error("cannot copy the files of agent {} from host {}: {}", identity.agent_name, name, error)
                continue
        archive = get_local_preserved_agent_dir_for_host(
            mngr_ctx, identity.agent_name, identity.agent_id, identity.host_id
        )
        result = _result(parts) | ({} if options.is_list else {"path": str(archive)})
        results.append(result)
        if output.output_format is OutputFormat.JSONL:
            print(json.dumps(result))
        elif output.output_format is OutputFormat.HUMAN:
            where = f"on the host, in {', '.join(result['folders'])}" if options.is_list else f"copied to {archive}"
            write_human_line(
                "{}  {} files, {:,} bytes, {}", identity.agent_name, result["files"], result["bytes"], where
            )
    if output.output_format is OutputFormat.JSON:
        print(json.dumps(results, indent=2))
    elif output.output_format is OutputFormat.HUMAN and not found:
        write_human_line("nothing is kept on host {}", name)
    if failed:
        raise MngrError(
            f"the files of {len(failed)} of {len(found)} agents are still on host {name}: {', '.join(failed)}\n"
            f"hint: run `mngr codex recover {name}` again"
        )


def _result(parts: Sequence[set_aside.SetAside]) -> dict[str, Any]:
    sizes = {path: size for part in parts for path, size in part.sizes.items()}
    identity = parts[-1].identity
    return {
        "agent": str(identity.agent_name),
        "id": str(identity.agent_id),
        "host": str(identity.host_name),
        "files": len(sizes),
        "bytes": sum(sizes.values()),
        "folders": [str(part.folder) for part in parts],
    }


def _host(address: HostAddress, mngr_ctx: MngrContext) -> HostInterface:
    host = remote_agents.find_host(address, mngr_ctx)
    if not isinstance(host, HostFileReadInterface):
        raise MngrError(f"cannot read the files of host {address}: it is not running\nhint: start the host")
    return host
