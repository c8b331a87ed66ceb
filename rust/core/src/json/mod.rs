//! JSON in rollouts: checked in one pass, copied as byte ranges, and decoded only if the text is needed.
//!
//! * [`scan`](mod@scan): the scanner, which checks a text and records its values on a [`tape`]
//! * [`key`]: the object keys that the scanner distinguishes
//! * [`walk`]: a walk over the tokens of checked text
//! * [`string`]: decoding, counting and escaping the contents of strings
//! * [`dump`]: values as Python's `json.dumps` formats them
//! * [`number`]: integers that readers in Python reject or handle differently
//! * [`find`]: searches for the ends of lines and strings
//! * [`block`], [`dispatch`]: the vector instructions of the above, and the choice among them

mod block;
mod dispatch;
pub(crate) mod dump;
mod find;
mod key;
pub(crate) mod number;
mod scan;
pub(crate) mod string;
mod tape;
mod text;
pub(crate) mod walk;

pub(crate) use block::PADDING;
pub(crate) use find::find_control;
pub(crate) use key::Key;
pub use scan::NOT_AN_OBJECT;
pub(crate) use scan::{Malformed, TEXT_FOLLOWS};
pub(crate) use scan::{scan, scan_from_payload};
pub use tape::Tape;
pub(crate) use tape::{Content, Kind, Value};
pub use text::Text;
