//! What kind of item a rollout line holds, and the short lists of kinds that make no record.
//!
//! Kinds were collected from real rollouts of codex 0.64 to 0.169 and from the list of what codex persists
//! (`rollout/src/policy.rs` in openai/codex). A kind on no list is [`Kind::Other`]: it is carried, not dropped.

use crate::json::{Key, Tape, Text, Value};

use super::envelope::{Envelope, member, string};

/// The kind of a line, by `type` and `payload.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `session_meta`: the head of a file, or of history copied into it.
    SessionMeta,
    /// `turn_context`: the model and effort of the turn.
    TurnContext,
    /// `compacted`: the conversation so far was replaced by a summary.
    Compacted,
    /// `response_item`/`message`, with its role.
    Message(Role<'a>),
    /// `response_item`/`reasoning`.
    Reasoning,
    /// `response_item`/`agent_message`: a message between agents.
    AgentMessage,
    /// `response_item`/`function_call`: arguments in JSON.
    FunctionCall,
    /// `response_item`/`custom_tool_call`: input as free text.
    CustomToolCall,
    /// Any other `response_item`/`*_call`, by the name before `_call`.
    OtherCall(&'a str),
    /// `response_item`/`function_call_output` and `custom_tool_call_output`.
    CallOutput,
    /// Any other `response_item`/`*_output`, by the name before `_output`.
    OtherOutput(&'a str),
    /// `event_msg`/`token_count`.
    TokenCount,
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
    /// On one of the lists below.
    Listed,
    /// On no list; a line without a type too.
    Other,
}

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// `user`, which injected context has too.
    User,
    /// `assistant`
    Assistant,
    /// Any other, by name.
    Other(&'a str),
}

/// Lines that only keep codex's books.
const BOOKKEEPING: &[&str] = &[
    "inter_agent_communication_metadata",
    "retained_context",
    "token_usage_record",
    "world_state",
];

/// Response items that are no part of the conversation: compaction is told by its `compacted` line.
const BOOKKEEPING_ITEMS: &[&str] = &[
    "additional_tools",
    "compaction",
    "compaction_summary",
    "compaction_trigger",
    "context_compaction",
    "ghost_snapshot",
];

/// Events that show what a response item or another line holds.
const DISPLAY_EVENTS: &[&str] = &[
    "agent_message",
    "agent_reasoning",
    "agent_reasoning_raw_content",
    "agent_reasoning_section_break",
    "context_compacted",
    "exec_command_end",
    "image_generation_end",
    "item_completed",
    "item_started",
    "mcp_tool_call_end",
    "patch_apply_end",
    "sub_agent_activity",
    "thread_settings_applied",
    "user_message",
    "view_image_tool_call",
    "web_search_end",
];

impl<'a> Kind<'a> {
    /// The kind of a scanned line.
    #[must_use]
    pub fn of(text: Text<'a>, tape: &Tape, envelope: &Envelope<'_>) -> Self {
        let Some(kind) = envelope.kind.map(|value| name(text, value)) else {
            return Self::Other;
        };
        let payload_kind = envelope.payload_kind.map_or("", |value| name(text, value));
        match kind {
            "response_item" => Self::of_response_item(text, tape, envelope, payload_kind),
            "event_msg" => match payload_kind {
                "token_count" => Self::TokenCount,
                "item_completed" if is_command(text, tape, envelope) => Self::CommandExecution,
                "task_started" | "turn_started" => Self::TaskStarted,
                "task_complete" | "turn_complete" => Self::TaskComplete,
                "turn_aborted" => Self::TurnAborted,
                "thread_rolled_back" => Self::ThreadRolledBack,
                event if DISPLAY_EVENTS.contains(&event) => Self::Listed,
                _ => Self::Other,
            },
            "turn_context" => Self::TurnContext,
            "session_meta" => Self::SessionMeta,
            "compacted" => Self::Compacted,
            line if BOOKKEEPING.contains(&line) => Self::Listed,
            _ => Self::Other,
        }
    }

    fn of_response_item(
        text: Text<'a>,
        tape: &Tape,
        envelope: &Envelope<'_>,
        item: &'a str,
    ) -> Self {
        match item {
            "message" => {
                let role = envelope
                    .payload
                    .and_then(|payload| member(tape, payload, Key::Role))
                    .and_then(string);
                Self::Message(match role.map_or("", |role| name(text, role)) {
                    "user" => Role::User,
                    "assistant" => Role::Assistant,
                    other => Role::Other(other),
                })
            }
            "reasoning" => Self::Reasoning,
            "agent_message" => Self::AgentMessage,
            "function_call" => Self::FunctionCall,
            "custom_tool_call" => Self::CustomToolCall,
            "function_call_output" | "custom_tool_call_output" => Self::CallOutput,
            item if BOOKKEEPING_ITEMS.contains(&item) => Self::Listed,
            item => {
                if let Some(tool) = item.strip_suffix("_call").filter(|tool| !tool.is_empty()) {
                    Self::OtherCall(tool)
                } else if let Some(tool) =
                    item.strip_suffix("_output").filter(|tool| !tool.is_empty())
                {
                    Self::OtherOutput(
                        tool.strip_suffix("_call")
                            .filter(|tool| !tool.is_empty())
                            .unwrap_or(tool),
                    )
                } else {
                    Self::Other
                }
            }
        }
    }
}

/// Whether the item of an `item_completed` line is a command.
fn is_command(text: Text<'_>, tape: &Tape, envelope: &Envelope<'_>) -> bool {
    item_kind(text, tape, envelope) == Some("CommandExecution")
}

/// The type of the item of an `item_completed` line.
#[must_use]
pub fn item_kind<'a>(text: Text<'a>, tape: &Tape, envelope: &Envelope<'_>) -> Option<&'a str> {
    let item = member(tape, envelope.payload?, Key::Item)?;
    member(tape, item, Key::Type)
        .and_then(string)
        .map(|value| name(text, value))
}

/// A string's raw content as a name; what is no UTF-8 is no name.
fn name<'a>(text: Text<'a>, value: &Value) -> &'a str {
    std::str::from_utf8(value.raw(text)).unwrap_or("")
}
