//! Calls that await their output.

use std::collections::VecDeque;

use crate::rollout::ids::{CallId, Name};

use super::call_filter::CallFilter;

/// The number of calls that are remembered.
const MAX_CALLS: usize = 128;

/// The maximum total size of their ids and names, in bytes. The oldest calls are forgotten beyond it.
const MAX_BYTES: usize = 8 << 10;

/// The calls that await their output, in the order of their lines.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct OpenCalls {
    calls: VecDeque<OpenCall>,
    filter: CallFilter,
    /// The total size of their ids and names, in bytes.
    bytes: usize,
}

/// A call that awaits its output.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct OpenCall {
    call: CallId,
    tool: Name,
    /// Whether Codex is expected to write an output in the current turn.
    is_awaited: bool,
}

impl OpenCall {
    fn bytes(&self) -> usize {
        self.call.0.as_bytes().len() + self.tool.as_bytes().len()
    }
}

impl OpenCalls {
    /// Adds a call. A repeated call id keeps its position.
    pub(crate) fn insert(&mut self, call: &CallId, tool: &Name, is_awaited: bool) {
        let open = OpenCall { call: call.clone(), tool: tool.clone(), is_awaited };
        self.bytes += open.bytes();
        if let Some(position) = self.position(call) {
            self.bytes -= self.calls[position].bytes();
            self.calls[position] = open;
        } else {
            self.calls.push_back(open);
            self.filter.push(call);
        }
        while self.calls.len() > MAX_CALLS || self.bytes > MAX_BYTES {
            self.remove_at(0);
        }
    }

    /// Removes a call that has been answered. Returns the name of its tool, if the call is known.
    pub(crate) fn remove(&mut self, call: &CallId) -> Option<Name> {
        let position = self.position(call)?;
        self.remove_at(position).map(|open| open.tool)
    }

    /// Returns whether a call awaits its output.
    #[must_use]
    pub(crate) fn contains(&self, call: &CallId) -> bool {
        self.position(call).is_some()
    }

    /// Returns the calls whose outputs are expected, in the order of their lines.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &CallId> {
        self.calls.iter().filter(|open| open.is_awaited).map(|open| &open.call)
    }

    /// Stops expecting outputs, because the turn of the calls is over.
    pub(crate) fn stop_awaiting(&mut self) {
        self.calls.iter_mut().for_each(|open| open.is_awaited = false);
    }

    fn position(&self, call: &CallId) -> Option<usize> {
        // The latest calls are the most likely ones.
        if self.filter.may_contain(call) { self.calls.iter().rposition(|open| open.call == *call) } else { None }
    }

    fn remove_at(&mut self, position: usize) -> Option<OpenCall> {
        let open = self.calls.remove(position)?;
        self.filter.remove(position);
        self.bytes -= open.bytes();
        Some(open)
    }
}
