//! Calls whose output has not come.

use std::collections::VecDeque;

use crate::rollout::ids::{CallId, Name};

use super::call_marks::CallMarks;

/// Calls that are remembered.
const MOST_CALLS: usize = 128;

/// Calls are forgotten, oldest first, when their ids and names come to more than this many bytes.
const MOST_BYTES: usize = 8 << 10;

/// Calls without output so far, in the order in which they came.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct OpenCalls {
    calls: VecDeque<OpenCall>,
    marks: CallMarks,
    /// Bytes of their ids and names.
    bytes: usize,
}

/// A call without output so far.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct OpenCall {
    call: CallId,
    tool: Name,
    /// The window whose token counts await its output.
    window: Option<u64>,
}

impl OpenCall {
    fn bytes(&self) -> usize {
        self.call.0.as_bytes().len() + self.tool.as_bytes().len()
    }
}

impl OpenCalls {
    /// Takes in a call. One whose id comes again keeps its place.
    pub fn called(&mut self, call: &CallId, tool: &Name, window: Option<u64>) {
        let open = OpenCall { call: call.clone(), tool: tool.clone(), window };
        self.bytes += open.bytes();
        if let Some(place) = self.place(call) {
            self.bytes -= self.calls[place].bytes();
            self.calls[place] = open;
        } else {
            self.calls.push_back(open);
            self.marks.push(call);
        }
        while self.calls.len() > MOST_CALLS || self.bytes > MOST_BYTES {
            self.take(0);
        }
    }

    /// Takes in a call's output; gives the name of the call's tool, where the call is known.
    pub fn answered(&mut self, call: &CallId) -> Option<Name> {
        let place = self.place(call)?;
        self.take(place).map(|open| open.tool)
    }

    /// Whether a call's output is awaited by the token counts of `window`.
    #[must_use]
    pub fn is_awaited_in(&self, window: u64) -> bool {
        self.calls.iter().any(|open| open.window == Some(window))
    }

    fn place(&self, call: &CallId) -> Option<usize> {
        // The latest are the likeliest.
        if self.marks.may_hold(call) { self.calls.iter().rposition(|open| open.call == *call) } else { None }
    }

    fn take(&mut self, place: usize) -> Option<OpenCall> {
        let open = self.calls.remove(place)?;
        self.marks.remove(place);
        self.bytes -= open.bytes();
        Some(open)
    }
}
