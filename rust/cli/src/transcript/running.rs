//! The calls of an agent that have no output yet.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem;
use mngr_codex_core::{Activity, Lines, Record, RecordKind, Role, Stream, Tape};

use crate::human::{OpenCall, Style};

/// The number of records that are searched for a call, from the end of the transcript. Between a call and its output there
/// are only the other calls of its inference and their outputs.
const MAX_SEARCHED: usize = 1000;

/// The awaited calls whose steps were searched.
pub(super) struct RunningCalls {
    style: Style,
    searched: Vec<SearchedCall>,
}

struct SearchedCall {
    id: Vec<u8>,
    call: Option<OpenCall>,
}

impl RunningCalls {
    pub(super) fn new(style: Style) -> Self {
        Self { style, searched: Vec::new() }
    }

    /// Sets the awaited calls. Calls that were awaited before keep their details.
    pub(super) fn set_awaited(&mut self, ids: &[Vec<u8>]) {
        let mut before = std::mem::take(&mut self.searched);
        let known = |id: &Vec<u8>| {
            let known = before.iter_mut().find(|known| known.id == *id).and_then(|known| known.call.take());
            SearchedCall { id: id.clone(), call: known }
        };
        self.searched = ids.iter().map(known).collect();
    }

    /// Searches records for the steps of the awaited calls.
    pub(super) fn search(&mut self, records: &[u8]) {
        if self.is_complete() {
            return;
        }
        let mut lines = Lines::new(records, usize::MAX);
        while let Ok(Some(line)) = lines.next_line() {
            self.search_record(line.text.bytes());
        }
    }

    /// Searches a transcript backwards, up to the beginning of the turn, for the steps of the awaited calls.
    pub(super) fn search_backwards(&mut self, stream: &Stream) {
        let mut lines = stream.backwards();
        let mut tape = Tape::default();
        for _ in 0..MAX_SEARCHED {
            if self.is_complete() {
                return;
            }
            let Ok(Some(line)) = lines.previous_line() else { return };
            let kind = Record::read(line.text, &mut tape).map(|record| record.kind());
            if kind == Ok(RecordKind::Step(Some(Role::User))) {
                return;
            }
            self.search_record(line.text.bytes());
        }
    }

    /// Returns the calls whose steps were found, the oldest first.
    pub(super) fn found(&self) -> impl Iterator<Item = &OpenCall> {
        self.searched.iter().filter_map(|searched| searched.call.as_ref())
    }

    /// Returns whether nothing remains to be searched.
    pub(super) fn is_complete(&self) -> bool {
        self.searched.iter().all(|searched| searched.call.is_some())
    }

    fn search_record(&mut self, record: &[u8]) {
        for searched in self.searched.iter_mut().filter(|searched| searched.call.is_none()) {
            if may_contain(record, &searched.id) {
                searched.call = OpenCall::find(record.trim_ascii(), &searched.id, self.style);
            }
        }
    }
}

/// The calls that were announced, each with the activity in its line.
///
/// As text it can be passed to another process, which then does not announce them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced(Vec<(CallHash, Activity)>);

/// The hash of a call's id, which can be any text of any length. It may differ in another version of the program, which then
/// announces a call again.
type CallHash = u64;

impl Announced {
    const NAMES: [(Activity, &str); 3] =
        [(Activity::Running, "running"), (Activity::AwaitingApproval, "waiting"), (Activity::Ended, "ended")];

    /// Returns whether a call was announced as this.
    pub(super) fn contains(&self, call: &OpenCall, activity: Activity) -> bool {
        self.0.contains(&(Self::hash(call), activity))
    }

    /// Adds a call.
    pub(super) fn add(&mut self, call: &OpenCall, activity: Activity) {
        self.0.push((Self::hash(call), activity));
    }

    /// Forgets all calls but these. Nothing is forgotten while no call is found, because the transcript may not be read yet.
    pub(super) fn retain(&mut self, calls: &RunningCalls) {
        let open: Vec<CallHash> = calls.found().map(Self::hash).collect();
        if !open.is_empty() {
            self.0.retain(|(call, _)| open.contains(call));
        }
    }

    fn hash(call: &OpenCall) -> CallHash {
        let mut hasher = DefaultHasher::new();
        hasher.write(&call.id);
        hasher.finish()
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (call, activity)) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            let (_, name) = Self::NAMES.iter().find(|(named, _)| named == activity).ok_or(fmt::Error)?;
            write!(formatter, "{separator}{name}:{call:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Announced {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |part: &str| {
            let (name, call) = part.split_once(':')?;
            let (activity, _) = Self::NAMES.iter().find(|(_, known)| *known == name)?;
            Some((CallHash::from_str_radix(call, 16).ok()?, *activity))
        };
        let calls: Option<Vec<_>> = text.split(',').map(read).collect();
        calls.map(Self).ok_or("expected calls as a mark lists them")
    }
}

/// Returns whether any of the records is the step of this call.
pub(super) fn has_step(records: &[u8], id: &[u8], style: Style) -> bool {
    let mut lines = Lines::new(records, usize::MAX);
    while let Ok(Some(line)) = lines.next_line() {
        let record = line.text.bytes().trim_ascii();
        if may_contain(record, id) && OpenCall::find(record, id, style).is_some() {
            return true;
        }
    }
    false
}

/// Returns `false` if a record does not contain a string, without parsing it.
fn may_contain(record: &[u8], id: &[u8]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'/');
    !id.iter().all(is_plain) || memmem::find(record, id).is_some()
}

/// Returns the time in milliseconds since the epoch.
pub(super) fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
