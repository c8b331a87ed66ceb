//! The kinds of rollout lines, and the lists of kinds that produce no record.
//!
//! The kinds were collected from real rollouts of Codex 0.64 to 0.171, and from the list of what Codex persists
//! (`rollout/src/policy.rs` in openai/codex). A kind on no list is [`LineKind::Other`], and is kept in a notice.

use std::borrow::Cow;

use crate::json::{Key, Tape, Text};

use super::envelope::{Envelope, member, word};

/// The kind of a line, by `type` and `payload.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind<'a> {
    /// `session_meta`: the beginning of a file, or of history copied into it.
    SessionMeta,
    /// `turn_context`: the model and effort of the turn.
    TurnContext,
    /// `compacted`: the conversation so far was replaced by a summary.
    Compacted,
    /// `response_item`/`message`, with its role.
    Message(Role),
    /// `response_item`/`reasoning`.
    Reasoning,
    /// `response_item`/`agent_message`: a message between agents.
    AgentMessage,
    /// `response_item`/`function_call`: arguments in JSON.
    FunctionCall,
    /// `response_item`/`custom_tool_call`: input as free text.
    CustomToolCall,
    /// Any other `response_item`/`*_call`, with the name before `_call`.
    OtherCall(&'a [u8]),
    /// `response_item`/`function_call_output` and `custom_tool_call_output`.
    CallOutput,
    /// Any other `response_item`/`*_output`, with the name before `_output`.
    OtherOutput(&'a [u8]),
    /// `event_msg`/`token_count`: the token counts of an inference and of the session so far.
    TokenCount,
    /// `token_usage_record`: the token counts of a response.
    UsageRecord,
    /// `event_msg`/`task_started`.
    TaskStarted,
    /// `event_msg`/`task_complete`.
    TaskComplete,
    /// `event_msg`/`turn_aborted`.
    TurnAborted,
    /// `event_msg`/`thread_rolled_back`.
    ThreadRolledBack,
    /// `event_msg`/`item_completed` of a `CommandExecution`.
    CommandExecution,
    /// `event_msg`/`item_completed` of an `McpToolCall`, or `mcp_tool_call_end` (seen on 0.138 and 0.147).
    McpToolCall,
    /// `event_msg`/`item_completed` of a `FileChange`, or `patch_apply_end` (seen on 0.138 and 0.147).
    FileChange,
    /// A kind that produces no record, by one of the lists below.
    Skipped,
    /// A kind on no list, or a line without a type.
    Other,
}

/// The role of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `user`, also for context that Codex injects.
    User,
    /// `assistant`.
    Assistant,
    /// `developer`: Codex's own instructions.
    Developer,
    /// Any other role.
    Other,
}

/// Defines a function that checks whether a word is in a list, and the list itself for tests.
macro_rules! list {
    ($(#[$doc:meta])+ $is_listed:ident, $list:ident: $($word:literal)+) => {
        $(#[$doc])+
        #[must_use]
        #[inline]
        pub(crate) fn $is_listed(word: &[u8]) -> bool {
            // This compares only words of the same length.
            matches!(word, $($word)|+)
        }

        #[cfg(test)]
        pub(crate) const $list: &[&[u8]] = &[$($word),+];
    };
}

list! {
    /// Returns whether lines of this type are Codex's own bookkeeping.
    is_bookkeeping, BOOKKEEPING:
    b"inter_agent_communication_metadata"
    b"retained_context"
    b"world_state"
}

list! {
    /// Returns whether response items of this type are not part of the conversation. Compaction is described by its
    /// `compacted` line. A `configuration_update` (seen on 0.171) tells the model its effort.
    is_bookkeeping_item, BOOKKEEPING_ITEMS:
    b"additional_tools"
    b"compaction"
    b"compaction_summary"
    b"compaction_trigger"
    b"configuration_update"
    b"context_compaction"
    b"ghost_snapshot"
}

list! {
    /// Returns whether events of this type repeat the contents of a response item or of another line, for display.
    is_display_event, DISPLAY_EVENTS:
    b"agent_message"
    b"agent_reasoning"
    b"agent_reasoning_raw_content"
    b"agent_reasoning_section_break"
    b"collab_agent_interaction_end"
    b"collab_agent_spawn_end"
    b"collab_close_end"
    b"collab_resume_end"
    b"collab_waiting_end"
    b"context_compacted"
    b"exec_command_end"
    b"image_generation_end"
    b"item_completed"
    b"item_started"
    b"sub_agent_activity"
    b"thread_settings_applied"
    b"user_message"
    b"view_image_tool_call"
    b"web_search_end"
}

impl<'a> LineKind<'a> {
    /// Returns the kind of a scanned line.
    #[must_use]
    pub(crate) fn of(text: Text<'_>, tape: &Tape, envelope: &'a Envelope<'_, '_>) -> Self {
        let Some(kind) = envelope.kind.as_deref() else { return Self::Other };
        let payload_kind = envelope.payload_kind.as_deref().unwrap_or_default();
        match kind {
            b"response_item" => Self::of_response_item(text, envelope, payload_kind),
            b"event_msg" => match payload_kind {
                b"token_count" => Self::TokenCount,
                b"item_completed" => Self::of_item(text, tape, envelope),
                b"mcp_tool_call_end" => Self::McpToolCall,
                b"patch_apply_end" => Self::FileChange,
                b"task_started" | b"turn_started" => Self::TaskStarted,
                b"task_complete" | b"turn_complete" => Self::TaskComplete,
                b"turn_aborted" => Self::TurnAborted,
                b"thread_rolled_back" => Self::ThreadRolledBack,
                event if is_display_event(event) => Self::Skipped,
                _ => Self::Other,
            },
            b"turn_context" => Self::TurnContext,
            b"session_meta" => Self::SessionMeta,
            b"compacted" => Self::Compacted,
            b"token_usage_record" => Self::UsageRecord,
            line if is_bookkeeping(line) => Self::Skipped,
            _ => Self::Other,
        }
    }

    /// Returns the kind of an `item_completed` line.
    fn of_item(text: Text<'_>, tape: &Tape, envelope: &Envelope<'_, '_>) -> Self {
        match item_kind(text, tape, envelope).as_deref() {
            Some(b"CommandExecution") => Self::CommandExecution,
            Some(b"McpToolCall") => Self::McpToolCall,
            Some(b"FileChange") => Self::FileChange,
            _ => Self::Skipped,
        }
    }

    fn of_response_item(text: Text<'_>, envelope: &Envelope<'_, '_>, item: &'a [u8]) -> Self {
        match item {
            b"message" => {
                let role = envelope.members.get(Key::Role);
                let role = role.and_then(|role| word(text, role));
                Self::Message(match role.as_deref().unwrap_or_default() {
                    b"user" => Role::User,
                    b"assistant" => Role::Assistant,
                    b"developer" => Role::Developer,
                    _ => Role::Other,
                })
            }
            b"reasoning" => Self::Reasoning,
            b"agent_message" => Self::AgentMessage,
            b"function_call" => Self::FunctionCall,
            b"custom_tool_call" => Self::CustomToolCall,
            b"function_call_output" | b"custom_tool_call_output" => Self::CallOutput,
            item if is_bookkeeping_item(item) => Self::Skipped,
            item => {
                if let Some(tool) = item.strip_suffix(b"_call").filter(|tool| !tool.is_empty()) {
                    Self::OtherCall(tool)
                } else if let Some(tool) = item.strip_suffix(b"_output").filter(|tool| !tool.is_empty()) {
                    Self::OtherOutput(tool.strip_suffix(b"_call").filter(|tool| !tool.is_empty()).unwrap_or(tool))
                } else {
                    Self::Other
                }
            }
        }
    }
}

/// Returns the type of the item of an `item_completed` line.
#[must_use]
pub(crate) fn item_kind<'a>(text: Text<'a>, tape: &Tape, envelope: &Envelope<'_, '_>) -> Option<Cow<'a, [u8]>> {
    let item = envelope.members.get(Key::Item)?;
    member(tape, item, Key::Type).and_then(|kind| word(text, kind))
}
