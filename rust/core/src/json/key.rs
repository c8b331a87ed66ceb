//! The object keys that rollouts are read by, told apart once, while scanning.

/// Makes the enum, its names and [`Key::ALL`] from one list.
macro_rules! keys {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A key of a JSON object, as far as the converter asks for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Key {
            /// A key that no reader asks for by name, and an array's element outside a known key.
            Other,
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Key {
            /// Every known key with its name.
            const ALL: &[(Key, &[u8])] = &[$((Key::$variant, $name.as_bytes()),)+];

            /// How many keys are told apart, [`Key::Other`] being one.
            pub const COUNT: usize = Key::ALL.len() + 1;
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
    Tools = "tools",
    TotalTokens = "total_tokens",
    TotalTokenUsage = "total_token_usage",
    TranscriptPath = "transcript_path",
    TurnId = "turn_id",
    Type = "type",
}

/// A known key in the lookup table.
#[derive(Clone, Copy)]
struct Entry {
    /// The name's first 16 bytes, lowest first, zeros behind a shorter one.
    head: u128,
    /// Its length in bytes; in an empty slot one that no name has.
    length: usize,
    /// The key's place in [`Key::ALL`].
    place: usize,
}

/// The slot of a name: mixes its length and its first eight bytes.
#[inline(always)]
const fn slot(head: u128, length: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the first eight bytes are what is wanted")]
    let eight = head as u64;
    ((eight ^ (length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(MIX) >> 56) as usize
}

/// The factor of [`slot`], chosen so that no two known keys share one; else the table below refuses to compile.
const MIX: u64 = 0x1B12_32D9_B6E8_397B;

/// The known keys by their slots.
static TABLE: [Entry; 256] = {
    let mut table = [Entry { head: 0, length: usize::MAX, place: 0 }; 256];
    let mut place = 0;
    while place < Key::ALL.len() {
        let name = Key::ALL[place].1;
        let head = head(name);
        let entry = &mut table[slot(head, name.len())];
        assert!(entry.length == usize::MAX, "two keys share a slot: choose another factor");
        *entry = Entry { head, length: name.len(), place };
        place += 1;
    }
    table
};

/// Masks of the first bytes of 16, by how many.
static HEADS: [u128; 17] = {
    let mut masks = [u128::MAX; 17];
    let mut length = 0;
    while length < 16 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// The first 16 bytes of a name as a number.
const fn head(name: &[u8]) -> u128 {
    let (mut head, mut at) = (0, 0);
    while at < name.len() && at < 16 {
        head |= (name[at] as u128) << (8 * at);
        at += 1;
    }
    head
}

impl Key {
    /// The key of this name, [`Key::Other`] when no reader asks for it.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        Self::with_head(head(name), name)
    }

    /// As [`Self::named`], for a name behind which at least 16 bytes from its start on can be read as `window`.
    #[inline(always)]
    #[must_use]
    pub fn named_in(window: [u8; 16], name: &[u8]) -> Self {
        let head = u128::from_le_bytes(window) & HEADS[name.len().min(16)];
        Self::with_head(head, name)
    }

    #[inline(always)]
    fn with_head(head: u128, name: &[u8]) -> Self {
        let entry = &TABLE[slot(head, name.len())];
        if entry.head != head || entry.length != name.len() {
            return Self::Other;
        }
        let (key, known) = Self::ALL[entry.place];
        if name.len() <= 16 || name[16..] == known[16..] { key } else { Self::Other }
    }

    /// Whether values inside a container under this key are recorded one by one.
    ///
    /// What stands under any other key is checked, but only its extent is kept.
    #[inline]
    #[must_use]
    pub const fn is_entered(self) -> bool {
        matches!(
            self,
            Self::Payload
                | Self::Content
                | Self::Summary
                | Self::Output
                | Self::Info
                | Self::TotalTokenUsage
                | Self::LastTokenUsage
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
    fn every_known_key_is_found_and_near_misses_are_not() {
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
