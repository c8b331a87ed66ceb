//! The name of a message.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;

/// The most characters of a token.
const MAX_LENGTH: usize = 64;

/// The name of a message. Two runs with the same token send the same message, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {MAX_LENGTH} letters, digits, `-` and `_`")]
pub struct InvalidToken;

impl Token {
    /// Returns a new token that no other message has.
    #[must_use]
    pub fn random() -> Self {
        // The keys of each state are random.
        let word = || RandomState::new().build_hasher().finish();
        Self(format!("{:08x}-{:016x}{:016x}", std::process::id(), word(), word()))
    }

    /// Returns the token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_valid = !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(is_allowed);
        is_valid.then(|| Self(text.to_owned())).ok_or(InvalidToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_plain_name() {
        for text in ["a", "4f1c-9_B", &"x".repeat(64), Token::random().as_str()] {
            assert_eq!(text.parse::<Token>().map(|token| token.as_str().to_owned()), Ok(text.to_owned()));
        }
        for text in ["", "a b", "../x", "a.b", "a;b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken));
        }
    }

    #[test]
    fn random_tokens_differ() {
        assert_ne!(Token::random(), Token::random());
    }
}
