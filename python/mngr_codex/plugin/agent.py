"""The agent type ``codex``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from imbue.mngr.agents.base_agent import quote_agent_args
from imbue.mngr.agents.tui_agent import InteractiveTuiAgent
from imbue.mngr.agents.tui_utils import SubmissionConfirmationPolicy, SubmissionEvidenceProbe
from imbue.mngr.errors import AgentStartError
from imbue.mngr.interfaces.agent import (
    CliBackedAgentMixin,
    HasAutoInstallMixin,
    HasCommonTranscriptMixin,
    HasCompactionMixin,
    HasPermissionPolicyMixin,
    HasSessionAdoptionMixin,
    HasSessionPreservationMixin,
    HasUnattendedModeMixin,
    HasVersionManagementMixin,
    SupportsLiveOutputMixin,
    read_idle_since_for_compaction,
)
from imbue.mngr.primitives import CommandString, LifecycleProbeResult, TransferMode
from loguru import logger
from pydantic import PrivateAttr

from mngr_codex.plugin import launch, markers, paths, starting
from mngr_codex.plugin.config import CodexAgentConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imbue.mngr.config.data_types import AgentTypeConfig, MngrContext
    from imbue.mngr.hosts.tmux import TmuxWindowTarget
    from imbue.mngr.interfaces.host import CreateAgentOptions, OnlineHostInterface
    from imbue.mngr.interfaces.live_output import LiveOutputReader

    from mngr_codex.plugin.probe import Probe
    from mngr_codex.plugin.status_file import Status


_RECENT_SECONDS = 1.0


class CodexAgent(
    InteractiveTuiAgent[CodexAgentConfig],
    HasCommonTranscriptMixin,
    HasSessionAdoptionMixin,
    HasSessionPreservationMixin,
    HasUnattendedModeMixin,
    HasPermissionPolicyMixin,
    HasVersionManagementMixin,
    HasAutoInstallMixin,
    HasCompactionMixin,
    SupportsLiveOutputMixin,
    CliBackedAgentMixin,
):
    """A Codex TUI in a tmux pane, whose hooks and watcher report its state to mngr."""

    # Whether the agent and its work directory existed before this mngr command, which would delete both after an error.
    _has_earlier_work: bool = PrivateAttr(default=False)
    _is_first_message_next: bool = PrivateAttr(default=False)
    # Whether Codex was stopped, and the agent's files are preserved, because it is about to be destroyed.
    _is_secured: bool = PrivateAttr(default=False)
    # When the agent was last read for a listing, in seconds, what was read, and the fields that were given it.
    _recent_probe: tuple[float, Probe, set[str]] | None = PrivateAttr(default=None)
    # The status from which `get_idle_since` answered last, and when it was read, in seconds.
    _recent_status: tuple[float, Status | None] | None = PrivateAttr(default=None)

    # -- the command

    def assemble_command(
        self,
        host: OnlineHostInterface,
        agent_args: tuple[str, ...],
        command_override: CommandString | None,
        initial_message: str | None = None,
    ) -> CommandString:
        """Returns the command that runs the launcher script, which contains the ``command`` setting.

        A command that overrides the setting is an argument of the script.
        """
        arguments = (*self.agent_config.cli_args, *quote_agent_args(agent_args))
        command = None if command_override is None else str(command_override)
        return CommandString(launch.launch_command(self._get_agent_dir(), arguments, command))

    def get_expected_process_name(self) -> str:
        """Returns the name of Codex's process."""
        return "codex"

    # -- before the agent is created

    @classmethod
    def preflight_check(
        cls,
        source_host: OnlineHostInterface,
        source_path: Path,
        agent_options: CreateAgentOptions,
        agent_config: AgentTypeConfig,
        mngr_ctx: MngrContext,
    ) -> None:
        """Rejects invalid settings, commands as first messages, and directories that the user has not trusted."""
        from mngr_codex.plugin.provisioning import check

        check(source_host, source_path, agent_options, cast("CodexAgentConfig", agent_config), mngr_ctx)

    # -- provisioning

    def provision(self, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext) -> None:
        """Installs the agent's files on the host."""
        from imbue.mngr.utils.git_utils import find_source_repo_of_worktree

        from mngr_codex.plugin import provisioning

        repository = find_source_repo_of_worktree(self.work_dir)
        is_users_worktree = options.transfer_mode is TransferMode.NONE and repository is not None
        self._has_earlier_work = options.is_update or is_users_worktree
        request = provisioning.ProvisioningRequest.from_options(
            options,
            state_dir=self._get_agent_dir(),
            work_dir=self.work_dir,
            config=provisioning.config_of(options, self.agent_config),
            repository=repository,
        )
        provisioning.provision(host, request, mngr_ctx)

    def on_after_provisioning(
        self, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext
    ) -> None:
        """Copies the sessions that the agent resumes."""
        if options.adopt_session or options.source_agent_state_location is not None:
            self.adopt_session(host, options, mngr_ctx)

    def adopt_session(self, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext) -> None:
        """Copies sessions to this agent and makes Codex resume the last of them."""
        from mngr_codex.plugin import adoption

        adoption.adopt(self._get_agent_dir(), host, options, mngr_ctx)

    # -- destruction

    def secure(self, host: OnlineHostInterface) -> None:
        """Stops Codex, brings the agent's files up to date, and preserves them.

        Raises:
            MngrError: The files are preserved neither on this machine nor on the host.
        """
        from mngr_codex.plugin import preservation

        if not self._is_secured:
            preservation.secure(self, host)
            self._is_secured = True

    def on_destroy(self, host: OnlineHostInterface) -> None:
        """Preserves the agent's transcripts and sessions."""
        self.preserve_session_state(host)

    def preserve_session_state(self, host: OnlineHostInterface) -> None:
        """Copies transcripts and sessions to mngr's folder of destroyed agents."""
        # The hook before has done it, where mngr has run it.
        self.secure(host)

    # -- capabilities

    def is_unattended_enabled(self) -> bool:
        """Returns whether Codex never asks for approval."""
        return self.agent_config.auto_allow_permissions

    def get_permission_policy(self) -> Mapping[str, Any]:
        """Returns the approval policy and the sandbox mode from the settings."""
        from mngr_codex.plugin.provisioning import codex_settings

        config = self.agent_config.validated(str(self.agent_type))
        policy = {**codex_settings(config), **config.config_overrides}
        return {name: policy[name] for name in ("approval_policy", "sandbox_mode") if name in policy}

    def get_install_binary_name(self) -> str:
        """Returns the program that must be installed."""
        from mngr_codex.plugin.command_setting import program_of

        return program_of(str(self.agent_config.command))

    def get_install_command(self) -> str:
        """Returns the shell command that installs Codex."""
        from mngr_codex.plugin.host.installer import install_command

        return install_command(self.agent_config.version)

    def reconcile_installed_version(self, host: OnlineHostInterface, mngr_ctx: MngrContext) -> None:
        """Checks that Codex is installed as the settings require, and reports newer versions."""
        from mngr_codex.plugin.provisioning import reconcile_version

        reconcile_version(self.agent_config.validated(str(self.agent_type)), host, mngr_ctx)

    # -- state

    def probe_lifecycle(self) -> LifecycleProbeResult:
        """Returns the agent's state and Codex's process."""
        return (self._shared_probe("state") or self._probe()).lifecycle

    def probe_for(self, field: str) -> Probe:
        """Returns what is known about the agent, for a field of a listing.

        The fields and the state of one listing share a read, in any order of the fields. A read gives each of them
        once, and within a second, so the next listing reads again.

        Args:
            field: The name of the field.
        """
        shared = self._shared_probe(field)
        if shared is not None:
            return shared
        read = self._probe()
        self._recent_probe = time.monotonic(), read, {field}
        return read

    def _shared_probe(self, name: str) -> Probe | None:
        if self._recent_probe is None:
            return None
        read_at, read, given = self._recent_probe
        if name in given or time.monotonic() - read_at >= _RECENT_SECONDS:
            return None
        given.add(name)
        return read

    def _probe(self) -> Probe:
        from mngr_codex.plugin.probe import Probe, probe

        read = probe(self)
        if read is not None:
            return read
        # mngr gives the window of an agent of an older mngr its name.
        lifecycle = super().probe_lifecycle()
        return probe(self) or Probe(lifecycle=lifecycle, waiting_reason=None, status=None)

    def waiting_reason(self) -> str | None:
        """Returns why the agent waits; None if it is busy or has ended."""
        return self.probe_for("waiting_reason").waiting_reason

    def is_blocked_on_dialog(self) -> bool:
        """Returns whether Codex waits for an approval or an answer."""
        return markers.is_blocked(self.host, self._get_agent_dir())

    # -- transcripts

    def get_raw_transcript_scripts(self) -> Mapping[str, str]:
        """Returns the script that brings the raw transcript up to date."""
        from mngr_codex.plugin.host import transcript_scripts

        return transcript_scripts.raw_transcript_script()

    @property
    def is_common_transcript_enabled(self) -> bool:
        """Whether a common transcript is created."""
        return self.agent_config.emit_common_transcript

    def get_common_transcript_scripts(self) -> Mapping[str, str]:
        """Returns the script that brings the common transcript up to date."""
        from mngr_codex.plugin.host import transcript_scripts

        return transcript_scripts.common_transcript_script()

    def get_live_output_path(self) -> Path:
        """Returns the file to which each message of the agent is added when it is complete."""
        return self._get_agent_dir() / paths.LIVE_OUTPUT

    def make_live_output_reader(self) -> LiveOutputReader:
        """Returns a reader of that file."""
        from imbue.mngr.interfaces.live_output import RawTextReader

        return RawTextReader()

    # -- compaction

    def request_compaction(
        self,
        instructions: str | None = None,
        message_lock_timeout_seconds: float | None = None,
        expected_idle_since: datetime | None = None,
    ) -> None:
        """Makes Codex compact the context, and waits until it has begun.

        Instructions are dropped: with words after it, ``/compact`` is a message to the model.
        """
        from mngr_codex.plugin import compaction

        with self._message_lock(timeout_seconds=message_lock_timeout_seconds):
            idle_since = read_idle_since_for_compaction(self, self.name, expected_idle_since)
            compaction.compact(self, idle_since)

    def get_cache_ttl_minutes(self) -> int | None:
        """Returns how long the model provider keeps a prompt."""
        from mngr_codex.plugin.compaction import CACHE_TTL_MINUTES

        return CACHE_TTL_MINUTES

    def get_context_tokens(self) -> int | None:
        """Returns the size of the context in tokens; None if it is unknown.

        mngr asks for it right after :meth:`get_idle_since`, whose read then answers both.
        """
        from mngr_codex.plugin import status_file

        recent, self._recent_status = self._recent_status, None
        if recent is not None and time.monotonic() - recent[0] < _RECENT_SECONDS:
            status = recent[1]
        else:
            status = status_file.read_on_host(self.host, self._get_agent_dir())
        return None if status is None else status.context_tokens

    def get_idle_since(self) -> datetime | None:
        """Returns when the agent became idle; None if it is busy, has ended, or was compacted since then."""
        from mngr_codex.plugin import compaction

        status, compacted = compaction.read(self)
        self._recent_status = time.monotonic(), status
        return compaction.idle_since(status, compacted)

    # -- messages

    def get_tui_ready_indicator(self) -> Callable[[str], bool]:
        """Returns a function that checks whether a pane shows a started Codex."""
        from mngr_codex import _core

        return lambda pane: _core.read_screen("codex", pane).is_started

    def upgrade_stored_command(self, command: CommandString) -> CommandString:
        """Returns the command for the agent's state directory, which may have been moved since it was stored.

        mngr calls this when it starts an agent that is not running.
        """
        from mngr_codex.plugin import moved

        starting.check_at_end(self._start_error, key=self.id, command="start")
        return CommandString(moved.adapted_command(self, self.host, str(command)))

    def get_resume_message(self) -> str | None:
        """Returns the message to send after a start.

        `mngr start` also asks for it, and reports success, if it has not started Codex because the terminal of an
        earlier one still exists.
        """
        starting.check_at_end(self._start_error, key=self.id, command="start")
        return super().get_resume_message()

    def wait_for_ready_signal(
        self, is_readiness_awaited: bool, start_action: Callable[[], None], timeout: float | None = None
    ) -> None:
        """Starts Codex. For a new agent, waits until Codex is ready.

        Raises:
            AgentStartError: Codex of a new agent has exited. mngr then removes the agent and its worktree. If these
                existed before, the error is reported when the command ends instead.
        """
        if not is_readiness_awaited:
            start_action()
            return
        from mngr_codex.plugin.messages import startup

        start_action()
        # mngr waits for new agents only.
        self._is_first_message_next = True
        try:
            startup.await_start(self, max(timeout or 0.0, startup.READY_SECONDS))
        except KeyboardInterrupt:
            self._fail_to_start(AgentStartError(str(self.name), "interrupted before Codex was ready"))
        except AgentStartError as error:
            self._fail_to_start(error)

    def _fail_to_start(self, error: AgentStartError) -> None:
        if not self._has_earlier_work:
            raise error
        from mngr_codex.plugin.messages import startup

        name = str(self.name)
        kept = AgentStartError(name, f"{error.reason}\nhint: nothing was deleted; {startup.restart_hint(name)}")
        starting.check_at_end(lambda: kept, key=self.id)

    def _start_error(self) -> AgentStartError | None:
        """Waits until Codex is ready in an agent that mngr has started again; returns an error if it has exited."""
        from mngr_codex.plugin.messages import startup

        try:
            startup.await_start(self, self.get_ready_timeout_seconds())
        except AgentStartError as error:
            name = str(self.name)
            return AgentStartError(name, f"{error.reason}\nhint: {startup.restart_hint(name)}")
        return None

    def send_message(self, message: str) -> None:
        """Sends a message. For the first message of a new agent, an error is only a warning.

        After an error mngr would remove the worktree in which the agent is running, even if the user pressed Ctrl-C.
        """
        is_first, self._is_first_message_next = self._is_first_message_next, False
        try:
            super().send_message(message)
        except (Exception, KeyboardInterrupt) as error:
            if not is_first:
                raise
            from mngr_codex.plugin.messages.first import undelivered_warning

            logger.warning("{}", undelivered_warning(str(self.name), message, error))
        else:
            from mngr_codex.plugin import last_known

            last_known.store(self)

    def _send_message_holding_lock(self, message: str) -> None:
        from mngr_codex.plugin.messages.send import send

        if not send(self, message, self.agent_config.confirmation_seconds()):
            self.send_unaided(message)

    def send_unaided(self, message: str) -> None:
        """Sends a message in mngr's own way, for a host that cannot run the program. mngr calls the methods below."""
        from mngr_codex import _core
        from mngr_codex.plugin.messages import unaided

        text = unaided.as_typed(message)
        super()._send_message_holding_lock(text)
        if _core.is_slash_command(text):
            unaided.check_after(self, self._send_target_arg(self.tmux_target))

    def _preflight_send_message(self, tmux_target: TmuxWindowTarget | str) -> str | None:
        """Waits until a message can be typed, before mngr does it."""
        from mngr_codex.plugin.messages import unaided

        unaided.await_composer(self, self._send_target_arg(tmux_target))
        return None

    def _build_submission_evidence_probes(
        self, message: str, policy: SubmissionConfirmationPolicy
    ) -> Sequence[SubmissionEvidenceProbe]:
        """Returns the evidence by which mngr confirms a message that it has typed."""
        from mngr_codex.plugin.messages import unaided

        return (unaided.evidence(self),)
