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
        }
    };
}

keys! {
    Action = "action",
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
    InternalPassthrough = "internal_chat_message_metadata_passthrough",
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
    Source = "source",
    StartedAtMs = "started_at_ms",
    Status = "status",
    Subagent = "subagent",
    SubagentHistoryStartOrdinal = "subagent_history_start_ordinal",
    Summary = "summary",
    Text = "text",
    ThreadId = "thread_id",
    ThreadSource = "thread_source",
    Timestamp = "timestamp",
    Tools = "tools",
    TotalTokens = "total_tokens",
    TotalTokenUsage = "total_token_usage",
    TurnId = "turn_id",
    Type = "type",
}

/// Slots of the lookup table; a power of two.
const SLOTS: usize = 256;

/// Mixes the length and three bytes of a name of at least two bytes; chosen so that no two known keys share a slot.
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    let second = name[1] as usize;
    let middle = name[length / 2] as usize;
    let last_but_one = name[length - 2] as usize;
    let mixed = (second * MIX[0])
        ^ (middle * MIX[1])
        ^ (last_but_one * MIX[2])
        ^ length.wrapping_mul(MIX[3]);
    (mixed ^ (mixed >> 9)) % SLOTS
}

/// The factors of [`slot`]; the table below refuses to compile when they let two keys meet.
const MIX: [usize; 4] = [645, 231, 251, 731];

/// For each slot, one more than the key's place in [`Key::ALL`], or 0.
static TABLE: [u8; SLOTS] = {
    let mut table = [0_u8; SLOTS];
    let mut at = 0;
    while at < Key::ALL.len() {
        let place = slot(Key::ALL[at].1);
        assert!(
            table[place] == 0,
            "two keys share a slot: choose other factors"
        );
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are fewer than 255 keys"
        )]
        {
            table[place] = (at + 1) as u8;
        }
        at += 1;
    }
    table
};

impl Key {
    /// The key of this name, [`Key::Other`] when no reader asks for it.
    #[inline]
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        if name.len() < 2 {
            return Self::Other;
        }
        match TABLE[slot(name)] {
            0 => Self::Other,
            place => {
                let (key, known) = Self::ALL[usize::from(place) - 1];
                if known == name { key } else { Self::Other }
            }
        }
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
                | Self::Source
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
