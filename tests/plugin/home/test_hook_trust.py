"""Which hooks of an agent run."""

import pytest

from mngr_codex.plugin.home.app_server import CodexReport, Hook
from mngr_codex.plugin.home.hook_trust import HookTrust, decide, trusted_hashes

OWN = ("/state/commands/mngr-codex hook user-prompt-submit", "/state/commands/mngr-codex hook stop")


def hook(
    event: str, command: str, *, source: str = "user", path: str = "/state/home/hooks.json", managed: bool = False
) -> Hook:
    return Hook(
        key=f"{path}:{event}:{command}",
        event=event,
        command=command,
        source=source,
        source_path=path,
        current_hash=f"sha256:{event}:{command}",
        is_managed=managed,
    )


OWN_HOOKS = (hook("userPromptSubmit", OWN[0]), hook("stop", OWN[1]))
REPOSITORY_HOOK = hook("stop", "./notify", source="project", path="/repository/.codex/hooks.json")
USER_HOOK = hook("stop", "say done")


def decided(*hooks: Hook, **trust: object) -> HookTrust:
    return decide(CodexReport(hooks=hooks), own_commands=OWN, codex_home="/state/home", **trust)  # type: ignore[arg-type]


def notice_of(trust: HookTrust) -> str | None:
    return trust.notice("codex", "run `mngr create t`")


def test_own_hooks_are_trusted_by_their_hashes() -> None:
    trust = decided(*OWN_HOOKS)
    assert trust.state == {own.key: {"trusted_hash": own.current_hash} for own in OWN_HOOKS}
    assert trust.problem is None and notice_of(trust) is None


def test_a_hook_of_a_repository_is_disabled_with_a_notice() -> None:
    trust = decided(*OWN_HOOKS, REPOSITORY_HOOK)
    assert trust.state[REPOSITORY_HOOK.key] == {"trusted_hash": REPOSITORY_HOOK.current_hash, "enabled": False}
    assert trust.disabled == (REPOSITORY_HOOK,)
    notice = notice_of(trust)
    assert notice is not None and "./notify" in notice
    setting = "trust_repo_hooks = true under [agent_types.codex] of mngr's settings"
    assert notice.endswith(f"hint: to enable repository hooks, set {setting} and run `mngr create t`")


@pytest.mark.parametrize("consent", [{"trusts_repository": True}, {"consented_hashes": {REPOSITORY_HOOK.current_hash}}])
def test_a_hook_of_a_repository_runs_with_consent(consent: dict[str, object]) -> None:
    trust = decided(*OWN_HOOKS, REPOSITORY_HOOK, **consent)
    assert trust.state[REPOSITORY_HOOK.key] == {"trusted_hash": REPOSITORY_HOOK.current_hash}
    assert trust.trusted == (REPOSITORY_HOOK,) and notice_of(trust) is None


def test_consent_to_one_hook_does_not_cover_another() -> None:
    other = hook("preToolUse", "./other", source="project", path="/repository/.codex/hooks.json")
    trust = decided(*OWN_HOOKS, REPOSITORY_HOOK, other, consented_hashes={REPOSITORY_HOOK.current_hash})
    assert trust.trusted == (REPOSITORY_HOOK,) and trust.disabled == (other,)


def test_the_users_own_hook_runs_if_their_codex_trusts_it() -> None:
    assert decided(*OWN_HOOKS, USER_HOOK, user_hashes={USER_HOOK.current_hash}).trusted == (USER_HOOK,)
    trust = decided(*OWN_HOOKS, USER_HOOK)
    assert trust.disabled == (USER_HOOK,)
    assert "trust_repo_hooks" not in (notice_of(trust) or "trust_repo_hooks")


def test_the_users_trusted_hashes_do_not_apply_to_a_hook_of_a_repository() -> None:
    assert decided(*OWN_HOOKS, REPOSITORY_HOOK, user_hashes={REPOSITORY_HOOK.current_hash}).disabled == (
        REPOSITORY_HOOK,
    )


@pytest.mark.parametrize("source", ["project", "unknown", "", "somethingNew"])
def test_a_repository_cannot_forge_an_own_hook(source: str) -> None:
    forged = hook("stop", OWN[1], source=source, path="/repository/home/hooks.json")
    assert decided(*OWN_HOOKS, forged).disabled == (forged,)


def test_a_managed_hook_is_not_changed() -> None:
    managed = hook("stop", "audit", source="mdm", managed=True)
    trust = decided(*OWN_HOOKS, managed)
    assert managed.key not in trust.state and notice_of(trust) is None


def test_unlisted_own_hooks_are_a_problem() -> None:
    assert "stop" in (decided(OWN_HOOKS[0]).problem or "")
    assert decide(CodexReport(problem="too old"), own_commands=OWN, codex_home="/h").problem == "too old"


def test_the_users_trust_is_read_from_their_config() -> None:
    config = {
        "hooks": {
            "state": {
                "a": {"trusted_hash": "sha256:a"},
                "b": {"trusted_hash": "sha256:b", "enabled": False},
                "c": {"enabled": True},
                "d": "nonsense",
            }
        }
    }
    assert trusted_hashes(config) == {"sha256:a"}
    assert trusted_hashes({}) == trusted_hashes({"hooks": {"state": 3}}) == frozenset()
