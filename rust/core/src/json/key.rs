//! The object keys that readers of rollouts ask for. The scanner identifies each key once.

/// Defines the enum and [`Key::ALL`] from one list of names.
macro_rules! keys {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A key of a JSON object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Key {
            /// A key that no reader asks for, or no key.
            Other,
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Key {
            /// All known keys with their names.
            const ALL: &[(Key, &[u8])] = &[$((Key::$variant, $name.as_bytes()),)+];

            /// The number of keys, including [`Key::Other`].
            pub(crate) const COUNT: usize = Key::ALL.len() + 1;
        }
    };
}

keys! {
    Action = "action",
    AgentId = "agent_id",
    AgentTranscriptPath = "agent_transcript_path",
    AggregatedOutput = "aggregated_output",
    Arguments = "arguments",
    Author = "author",
    CachedInputTokens = "cached_input_tokens",
    CacheWriteInputTokens = "cache_write_input_tokens",
    CallId = "call_id",
    CellId = "cell_id",
    Command = "command",
    CompletedAtMs = "completed_at_ms",
    Content = "content",
    Cwd = "cwd",
    Duration = "duration",
    Effort = "effort",
    EndOrdinalExclusive = "end_ordinal_exclusive",
    Error = "error",
    ExitCode = "exit_code",
    ForkedFromId = "forked_from_id",
    HistoryBase = "history_base",
    Id = "id",
    ImageUrl = "image_url",
    Info = "info",
    Input = "input",
    InputTokens = "input_tokens",
    Item = "item",
    LastTokenUsage = "last_token_usage",
    Message = "message",
    Model = "model",
    Name = "name",
    Nanos = "nanos",
    NumTurns = "num_turns",
    Ordinal = "ordinal",
    Output = "output",
    OutputTokens = "output_tokens",
    Payload = "payload",
    Reason = "reason",
    ReasoningOutputTokens = "reasoning_output_tokens",
    Recipient = "recipient",
    Result = "result",
    Role = "role",
    Secs = "secs",
    SessionId = "session_id",
    StartedAtMs = "started_at_ms",
    Status = "status",
    SubagentHistoryStartOrdinal = "subagent_history_start_ordinal",
    Summary = "summary",
    Text = "text",
    ThreadId = "thread_id",
    ThreadSource = "thread_source",
    Timestamp = "timestamp",
    ToolName = "tool_name",
    Tools = "tools",
    TotalTokens = "total_tokens",
    TotalTokenUsage = "total_token_usage",
    TranscriptPath = "transcript_path",
    Trigger = "trigger",
    TurnId = "turn_id",
    Type = "type",
    Usage = "usage",
}

/// A known key in the lookup table.
#[derive(Clone, Copy)]
struct Entry {
    /// The first 16 bytes of the name as a little-endian number, filled up with zeros.
    head: u128,
    /// The length of the name in bytes; in an empty slot, a length that no name has.
    length: usize,
    /// The index of the key in [`Key::ALL`].
    index: usize,
}

/// Returns the slot of a name in [`TABLE`], a hash of its length and its first eight bytes.
#[inline(always)]
const fn slot(head: u128, length: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "only the first eight bytes are hashed")]
    let eight = head as u64;
    ((eight ^ (length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(MIX) >> 56) as usize
}

/// The factor of the hash in [`slot`], for which no two known keys have the same slot. [`TABLE`] does not compile otherwise.
const MIX: u64 = 0x1998_644B_0582_79A3;

/// The known keys in their slots.
static TABLE: [Entry; 256] = {
    let mut table = [Entry { head: 0, length: usize::MAX, index: 0 }; 256];
    let mut index = 0;
    while index < Key::ALL.len() {
        let name = Key::ALL[index].1;
        let head = head(name);
        let entry = &mut table[slot(head, name.len())];
        assert!(entry.length == usize::MAX, "two keys have the same slot: choose another factor");
        *entry = Entry { head, length: name.len(), index };
        index += 1;
    }
    table
};

/// The masks of the first 0 to 16 bytes of a `u128`.
static HEADS: [u128; 17] = {
    let mut masks = [u128::MAX; 17];
    let mut length = 0;
    while length < 16 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Returns the first 16 bytes of a name as a little-endian number.
const fn head(name: &[u8]) -> u128 {
    let (mut head, mut at) = (0, 0);
    while at < name.len() && at < 16 {
        head |= (name[at] as u128) << (8 * at);
        at += 1;
    }
    head
}

impl Key {
    /// Returns the key with this name, or [`Key::Other`] if it is not known.
    #[must_use]
    pub(crate) fn named(name: &[u8]) -> Self {
        Self::with_head(head(name), name)
    }

    /// Does the same as [`Self::named`], faster. `window` must be the 16 bytes from the start of the name on.
    #[inline(always)]
    #[must_use]
    pub(crate) fn named_in(window: [u8; 16], name: &[u8]) -> Self {
        let head = u128::from_le_bytes(window) & HEADS[name.len().min(16)];
        Self::with_head(head, name)
    }

    #[inline(always)]
    fn with_head(head: u128, name: &[u8]) -> Self {
        let entry = &TABLE[slot(head, name.len())];
        if entry.head != head || entry.length != name.len() {
            return Self::Other;
        }
        let (key, known) = Self::ALL[entry.index];
        if name.len() <= 16 || name[16..] == known[16..] { key } else { Self::Other }
    }

    /// Returns whether the values in a container with this key are recorded.
    ///
    /// Containers with any other key are checked, but only their extents are recorded.
    #[inline]
    #[must_use]
    pub(crate) const fn is_entered(self) -> bool {
        matches!(
            self,
            Self::Payload
                | Self::Content
                | Self::Summary
                | Self::Output
                | Self::Info
                | Self::TotalTokenUsage
                | Self::LastTokenUsage
                | Self::Usage
                | Self::Item
                | Self::Command
                | Self::Duration
                | Self::HistoryBase
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn known_keys_are_found_and_similar_names_are_not() {
        for (key, name) in Key::ALL {
            assert_eq!(Key::named(name), *key);
            let mut window = [b'!'; 16];
            let length = name.len().min(16);
            window[..length].copy_from_slice(&name[..length]);
            assert_eq!(Key::named_in(window, name), *key);
            let mut longer = name.to_vec();
            longer.push(b'x');
            assert_eq!(Key::named(&longer), Key::Other);
            let mut other = name.to_vec();
            other[0] ^= 1;
            assert_ne!(Key::named(&other), *key);
        }
        assert_eq!(Key::named(b""), Key::Other);
    }
}
