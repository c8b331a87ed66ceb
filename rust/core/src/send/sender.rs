//! The steps by which a message is sent.
//!
//! Each step is a transition of [`Progress`], which is saved before anything is done. A run that was killed leaves a step
//! whose change was made or not; tmux knows which, because it makes a change and notes its number at once. So the next run
//! with the same record decides first where the message is, and goes on from there.

use std::time::Duration;

use crate::screen::{Screen, TypedText, View};

use super::host::{Effect, Fault, Host, Lengths, Look, Marker};
use super::outcome::{Outcome, OutcomeKind};
use super::record::{Entry, Progress, Record, digest};
use super::text::{MessagePattern, as_typed, is_slash_command};

/// How long Codex may take until a message can be typed.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// While Codex starts, the composer can contain anything for a moment. Only text that persists is a draft.
const DRAFT_DELAY: Duration = Duration::from_secs(3);
/// Without a login, Codex shows its composer for a moment before its login screen, where Enter would start a login.
const LOGIN_DELAY: Duration = Duration::from_secs(3);
/// Codex runs the hook before it asks for an approval.
const APPROVAL_DELAY: Duration = Duration::from_millis(1500);
/// How long the text may take to appear.
pub(super) const SHOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the effect of a command of Codex.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// The screen does not show the effect of Enter before.
const REACTION: Duration = Duration::from_millis(200);
/// How long to wait for Codex after Enter if the user has stopped the program.
const INTERRUPT_DELAY: Duration = Duration::from_secs(1);
/// After this time, other text in the composer is the effect of a command.
const REPLACED_DELAY: Duration = Duration::from_secs(2);
/// When Enter is pressed again, and how often.
const ENTER_AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(8)];
/// Codex takes an Enter that follows another key within 120 ms as a line break (0.163).
const KEY_PAUSE: Duration = Duration::from_millis(300);
/// The pause before a rejected command is typed again.
const REJECTED_PAUSE: Duration = Duration::from_millis(500);
/// How long a deleted text may stay visible.
const DELETED_TIMEOUT: Duration = Duration::from_secs(2);
/// The most key presses that delete a text. Codex ignores those that have nothing to delete.
const MAX_KEYS: usize = 500;

/// The pauses between two looks at the terminal.
const SHORT_PAUSE: Duration = Duration::from_millis(30);
const PAUSE: Duration = Duration::from_millis(50);
const LONG_PAUSE: Duration = Duration::from_millis(300);

/// A message as it is typed.
pub(super) struct Message {
    /// The text in the composer.
    text: String,
    typed: TypedText,
    pattern: MessagePattern,
    /// The first word, if Codex may run the message as a command.
    command: Option<String>,
}

impl Message {
    /// Prepares a cleaned message, which is not empty.
    pub(super) fn new(cleaned: &str) -> Self {
        let text = as_typed(cleaned);
        let command = is_slash_command(&text).then(|| text.split_whitespace().next().unwrap_or_default().to_owned());
        Self { typed: TypedText::new(&text), pattern: MessagePattern::new(&text), command, text }
    }

    fn keys(&self) -> usize {
        (2 * self.text.matches('\n').count() + 2).min(MAX_KEYS)
    }
}

/// Sends one message.
pub(super) struct Sender<'a, H> {
    host: &'a mut H,
    message: &'a Message,
    record: Record,
    /// How long to wait until the message is recorded.
    timeout: Duration,
    /// Whether an earlier run has begun.
    is_resumed: bool,
    /// Whether Enter may have been pressed for the last entry.
    may_be_entered: bool,
    /// Until when a rejected command is typed again.
    repeated_until: Duration,
}

impl<'a, H: Host> Sender<'a, H> {
    /// Begins with a new record, or goes on with that of a run that was killed.
    pub(super) fn new(host: &'a mut H, message: &'a Message, record: Record, timeout: Duration) -> Self {
        let is_resumed = record.progress != Progress::Waiting;
        let may_be_entered = is_resumed;
        let repeated_until = host.now() + READY_TIMEOUT;
        Self { host, message, record, timeout, is_resumed, may_be_entered, repeated_until }
    }

    /// Sends the message and returns what became of it. If the host fails, or the user stops the program, the record stays
    /// as it is, so that another run can go on.
    pub(super) fn run(mut self) -> Outcome {
        match self.steps() {
            Ok(outcome) => outcome,
            Err(fault) => self.failed(&fault),
        }
    }

    /// Returns the outcome if the host has failed or the user has stopped the program. Deletes text that was typed but not
    /// sent: nobody would expect it in the composer, and the message may be sent again.
    pub(super) fn failed(&mut self, fault: &Fault) -> Outcome {
        let outcome = match fault {
            Fault::Interrupted => Outcome::new(OutcomeKind::Interrupted),
            _ => Outcome::failed(fault),
        };
        let is_left = match self.record.progress {
            Progress::Waiting => false,
            Progress::Pasting { .. } | Progress::Typed { .. } => !self.take_back(),
            Progress::Entering(_) if !self.may_be_entered => !self.take_back(),
            Progress::Spacing { .. } => true,
            _ => return outcome.with_arrived(None),
        };
        Outcome { in_composer: is_left, ..outcome.with_arrived(Some(false)) }
    }

    /// Deletes text that was typed but not sent. Returns whether none is left.
    fn take_back(&mut self) -> bool {
        match self.try_to_take_back() {
            Err(Fault::Terminal(_)) => true,
            result => result.unwrap_or(false),
        }
    }

    fn try_to_take_back(&mut self) -> Result<bool, Fault> {
        if let Progress::Pasting { change, .. } = self.record.progress
            && self.host.last_change()? < change
        {
            return Ok(true);
        }
        let begun = self.host.now();
        let (mut deleted_at, mut was_seen) = (None, false);
        loop {
            let Look { pane, screen } = self.host.look()?;
            let view = screen.view_with(&self.message.typed);
            if view == View::Shell || self.record.pane.as_deref() != Some(&pane) {
                return Ok(true);
            }
            if self.is_blocked(view) {
                return Ok(false);
            }
            let now = self.host.now();
            let is_over = now.saturating_sub(deleted_at.unwrap_or(begun)) >= DELETED_TIMEOUT;
            match deleted_at {
                // The user has replaced the text.
                None if view == View::Draft && !self.is_own(&screen) => return Ok(true),
                // Codex reads the keys in their order, so text that is not visible yet is deleted too, unless a dialog gets
                // the keys.
                None if view == View::Draft || is_over => {
                    self.delete()?;
                    (deleted_at, was_seen) = (Some(now), view == View::Draft);
                }
                Some(_) if view == View::Empty => return Ok(was_seen),
                Some(_) if is_over => return Ok(false),
                _ => {}
            }
            self.host.wait(PAUSE);
        }
    }

    /// Makes the steps until the last one.
    ///
    /// # Errors
    ///
    /// Returns the error of the host.
    pub(super) fn steps(&mut self) -> Result<Outcome, Fault> {
        if self.is_resumed {
            let progress = self.decide()?;
            self.enter(progress)?;
        }
        loop {
            let next = match self.record.progress.clone() {
                Progress::Done(outcome) => return Ok(outcome),
                // Enter was not pressed yet.
                Progress::Waiting | Progress::Pasting { .. } | Progress::Typed { .. } | Progress::Entering(_)
                    if self.host.is_interrupted() =>
                {
                    return Err(Fault::Interrupted);
                }
                Progress::Waiting => self.wait_for_composer()?,
                Progress::Pasting { change, before } => {
                    self.host.load(&self.message.text)?;
                    self.change(Effect::Paste, change)?;
                    Progress::Typed { before }
                }
                Progress::Typed { before } => self.wait_for_text(&before)?,
                Progress::Entering(entry) => {
                    self.may_be_entered = true;
                    self.change(Effect::Enter, entry.change)?;
                    Progress::Entered(entry)
                }
                Progress::Entered(entry) => self.wait_for_codex(entry)?,
                Progress::Spacing { before } => {
                    // The cursor is before the text. Codex ignores white space at the beginning, so a second space of
                    // another run does no harm.
                    let change = self.next_change();
                    self.change(Effect::Space, change)?;
                    self.pause(KEY_PAUSE);
                    Progress::Typed { before }
                }
                Progress::Withdrawing(entry) => self.withdraw(&entry)?,
            };
            self.enter(next)?;
        }
    }

    /// Saves the next step. A final one that cannot be saved is still returned, and text that Codex did not take is deleted.
    fn enter(&mut self, progress: Progress) -> Result<(), Fault> {
        self.record.progress = progress;
        match self.host.save(&self.record) {
            Err(Fault::File(_)) if matches!(self.record.progress, Progress::Withdrawing(_) | Progress::Done(_)) => {
                Ok(())
            }
            saved => saved,
        }
    }

    fn next_change(&mut self) -> u32 {
        self.record.changes += 1;
        self.record.changes
    }

    /// Changes the terminal. If tmux reports an error although the change was made, there is no error.
    fn change(&mut self, effect: Effect, number: u32) -> Result<(), Fault> {
        match self.host.change(effect, number) {
            Err(Fault::Terminal(_) | Fault::Tmux(_)) if self.host.last_change().is_ok_and(|last| last >= number) => {
                Ok(())
            }
            changed => changed,
        }
    }

    /// Waits, although rollouts change.
    fn pause(&mut self, duration: Duration) {
        let end = self.host.now() + duration;
        while let Some(rest) = end.checked_sub(self.host.now()).filter(|rest| !rest.is_zero()) {
            self.host.wait(rest);
        }
    }

    /// Returns the step with which to go on after an earlier run: that which was begun, if its change was made, or the one
    /// before.
    fn decide(&mut self) -> Result<Progress, Fault> {
        let progress = self.record.progress.clone();
        let Some((pane, last_change)) = self.seen()? else { return Ok(self.lost(progress)) };
        if self.record.pane.as_deref().is_some_and(|recorded| recorded != pane) {
            return Ok(self.lost(progress));
        }
        let has_more_changes = last_change > self.record.changes;
        self.record.changes = last_change.max(self.record.changes);
        if has_more_changes
            && matches!(progress, Progress::Pasting { .. } | Progress::Typed { .. } | Progress::Entering(_))
        {
            // The earlier run has deleted the text again, and could not save that.
            return Ok(Progress::Waiting);
        }
        Ok(match progress {
            Progress::Pasting { change, before } if last_change >= change => Progress::Typed { before },
            Progress::Pasting { .. } => Progress::Waiting,
            Progress::Entering(entry) if last_change >= entry.change => Progress::Entered(entry),
            Progress::Entering(entry) => Progress::Typed { before: entry.before },
            progress => progress,
        })
    }

    /// Returns the pane and the number of its last change; `None` if the terminal is gone.
    fn seen(&mut self) -> Result<Option<(String, u32)>, Fault> {
        let seen = self.host.look().and_then(|look| Ok((look.pane, self.host.last_change()?)));
        match seen {
            Ok(seen) => Ok(Some(seen)),
            Err(Fault::Terminal(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Returns the last step for a terminal that is gone. What was typed there can no longer be sent.
    fn lost(&mut self, progress: Progress) -> Progress {
        let (before, arrived) = match progress {
            Progress::Waiting | Progress::Done(_) => return progress,
            Progress::Pasting { before, .. } | Progress::Typed { before } => (before, Some(false)),
            Progress::Entering(Entry { before, .. })
            | Progress::Entered(Entry { before, .. })
            | Progress::Withdrawing(Entry { before, .. })
            | Progress::Spacing { before } => (before, None),
        };
        let kind = if self.has_arrived(&before) { OutcomeKind::Arrived } else { OutcomeKind::Ended };
        let outcome = self.outcome(kind);
        Progress::Done(if kind == OutcomeKind::Ended { outcome.with_arrived(arrived) } else { outcome })
    }

    fn has_arrived(&mut self, before: &Lengths) -> bool {
        self.host.has_arrived(before, &self.message.pattern)
    }

    /// Returns an outcome with the command, if the message may be one.
    fn outcome(&self, kind: OutcomeKind) -> Outcome {
        let command = self.message.command.clone().filter(|_| !self.record.is_no_command);
        Outcome { command, ..Outcome::new(kind) }
    }

    /// Returns the last step, with what the terminal shows.
    fn done(&self, kind: OutcomeKind, screen: &Screen, view: View) -> Progress {
        Progress::Done(self.outcome(kind).with_screen(screen, view))
    }

    /// Returns whether a dialog is open, or Codex is about to open one.
    fn is_blocked(&self, view: View) -> bool {
        view.takes_input() || (!self.record.was_asking && self.host.has(Marker::Permissions))
    }

    // -- the composer

    /// Waits until a message can be typed.
    fn wait_for_composer(&mut self) -> Result<Progress, Fault> {
        self.record.was_asking = false;
        let mut delay = if self.host.lacks_login() { LOGIN_DELAY } else { Duration::ZERO };
        let begun = self.host.now();
        loop {
            if !self.record.was_asking && (self.host.has(Marker::Permissions) || self.host.has(Marker::Question)) {
                // Either the dialog is about to appear, or it was answered and the approved command is running.
                self.record.was_asking = true;
                delay = delay.max(self.host.now().saturating_sub(begun) + APPROVAL_DELAY);
            }
            let Look { pane, screen } = match self.host.look() {
                Ok(look) => look,
                Err(Fault::Terminal(error)) => {
                    let outcome = self.outcome(OutcomeKind::NoTerminal);
                    return Ok(Progress::Done(Outcome { terminal: vec![error], ..outcome }));
                }
                Err(fault) => return Err(fault),
            };
            if self.host.is_interrupted() {
                return Err(Fault::Interrupted);
            }
            let view = screen.view();
            let elapsed = self.host.now().saturating_sub(begun);
            let is_over = elapsed >= READY_TIMEOUT;
            let kind = match view {
                View::Empty if elapsed >= delay => {
                    self.record.pane = Some(pane);
                    let before = self.host.lengths();
                    return Ok(Progress::Pasting { change: self.next_change(), before });
                }
                View::Login => OutcomeKind::Login,
                View::Side => OutcomeKind::Side,
                View::Dialog(_) => OutcomeKind::Dialog,
                View::Draft if is_over || elapsed > DRAFT_DELAY => OutcomeKind::Draft,
                View::Shell if is_over => OutcomeKind::Exited,
                _ if is_over => OutcomeKind::NotReady,
                _ => {
                    self.host.wait(PAUSE);
                    continue;
                }
            };
            return Ok(self.done(kind, &screen, view));
        }
    }

    // -- the text

    /// Waits until the text appears in the composer.
    fn wait_for_text(&mut self, before: &Lengths) -> Result<Progress, Fault> {
        let begun = self.host.now();
        loop {
            let screen = match self.host.look() {
                Ok(look) => look.screen,
                Err(Fault::Terminal(_)) => {
                    return Ok(Progress::Done(self.outcome(OutcomeKind::Ended).with_arrived(Some(false))));
                }
                Err(fault) => return Err(fault),
            };
            if self.host.is_interrupted() {
                return Err(Fault::Interrupted);
            }
            let view = screen.view_with(&self.message.typed);
            if view == View::Shell {
                let ended = self.outcome(OutcomeKind::Ended).with_arrived(Some(false));
                return Ok(Progress::Done(ended.with_screen(&screen, view)));
            }
            if self.is_blocked(view) {
                return Ok(self.done(OutcomeKind::Blocked, &screen, view));
            }
            if matches!(view, View::Draft | View::Loading) && self.is_own(&screen) {
                self.may_be_entered = false;
                return Ok(Progress::Entering(Entry {
                    change: self.next_change(),
                    before: self.host.lengths(),
                    row: screen.row().map(digest),
                    rejections: screen.rejections(),
                    unrecognized: self.message.command.as_deref().map_or(0, |command| screen.unrecognized(command)),
                }));
            }
            if self.host.now().saturating_sub(begun) >= SHOWN_TIMEOUT {
                if self.has_arrived(before) {
                    return Ok(self.done(OutcomeKind::Arrived, &screen, view));
                }
                let outcome = self.outcome(OutcomeKind::Unseen).with_screen(&screen, view);
                return Ok(Progress::Done(if self.is_resumed { outcome.with_arrived(None) } else { outcome }));
            }
            self.host.wait(SHORT_PAUSE);
        }
    }

    /// Returns whether text in the composer is that of the message. After an earlier run, the user may have sent it or typed
    /// another one.
    fn is_own(&self, screen: &Screen) -> bool {
        // The row of a long message may be above the visible part of the composer.
        !self.is_resumed || screen.may_contain(&self.message.typed)
    }

    // -- Codex

    /// Returns whether the composer still contains the message.
    fn contains(&self, screen: &Screen, entry: &Entry) -> bool {
        screen.contains(&self.message.typed, |row| entry.row.as_deref() == Some(&digest(row)))
    }

    /// Waits until Codex has taken the message.
    fn wait_for_codex(&mut self, entry: Entry) -> Result<Progress, Fault> {
        let is_command = self.message.command.is_some() && !self.record.is_no_command;
        let window = if is_command { COMMAND_TIMEOUT } else { self.timeout };
        let begun = self.host.now();
        // Codex records most messages before the screen shows an effect.
        let mut next_look = if is_command { begun } else { begun + REACTION.min(window) };
        let mut enters = ENTER_AGAIN.into_iter().peekable();
        loop {
            if self.has_arrived(&entry.before) {
                return self.arrived(is_command);
            }
            let now = self.host.now();
            if now < next_look {
                self.host.wait(next_look.saturating_sub(now));
                continue;
            }
            let elapsed = now.saturating_sub(begun);
            let screen = match self.host.look() {
                Ok(look) => look.screen,
                Err(Fault::Terminal(_)) => return Ok(self.without_terminal(&entry, is_command)),
                Err(fault) => return Err(fault),
            };
            let view = screen.view_with(&self.message.typed);
            let is_typed = self.contains(&screen, &entry);
            let has_reacted = elapsed >= REACTION;
            if has_reacted && view == View::Login {
                return Ok(self.done(OutcomeKind::Login, &screen, view));
            }
            if is_command && let Some(next) = self.command_effect(&entry, &screen, view, elapsed)? {
                return Ok(next);
            }
            if has_reacted && view == View::Shell {
                return Ok(self.exited(&entry, &screen));
            }
            if elapsed >= window || (elapsed >= INTERRUPT_DELAY && self.host.is_interrupted()) {
                return Ok(self.time_is_up(entry, &screen, view));
            }
            // A lost Enter is repeated, but only while the composer still contains the text. A dialog or a shell would get
            // the key otherwise.
            if enters.peek().is_some_and(|at| elapsed >= *at) && is_typed && !self.is_blocked(view) {
                enters.next();
                let change = self.next_change();
                self.change(Effect::Enter, change)?;
            }
            let pause = if is_command && elapsed < REPLACED_DELAY { PAUSE } else { LONG_PAUSE };
            next_look = (now + pause).min(begun + window);
        }
    }

    /// Returns the last step for a message that has arrived. If it was a command, it may have opened a dialog.
    fn arrived(&mut self, is_command: bool) -> Result<Progress, Fault> {
        if is_command {
            match self.host.look() {
                Ok(Look { screen, .. }) => return Ok(self.done(OutcomeKind::Arrived, &screen, screen.view())),
                Err(Fault::Terminal(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Progress::Done(self.outcome(OutcomeKind::Arrived)))
    }

    /// Returns the next step if the screen shows the effect of a command.
    fn command_effect(
        &mut self,
        entry: &Entry,
        screen: &Screen,
        view: View,
        elapsed: Duration,
    ) -> Result<Option<Progress>, Fault> {
        let is_typed = self.contains(screen, entry);
        let has_reacted = elapsed >= REACTION;
        let command = self.message.command.as_deref().unwrap_or_default();
        if has_reacted && is_typed && screen.unrecognized(command) > entry.unrecognized {
            // The message is for the model. Codex sends a text that begins with a space unchanged.
            self.record.is_no_command = true;
            return Ok(Some(Progress::Spacing { before: entry.before.clone() }));
        }
        if screen.rejections() > entry.rejections {
            // Codex 0.163 keeps the command in the composer, 0.171 removes it.
            if is_typed {
                self.delete()?;
            }
            if self.host.has(Marker::Turn) || self.host.now() >= self.repeated_until {
                return Ok(Some(self.done(OutcomeKind::Refused, screen, view)));
            }
            // Codex also rejects commands while it starts its MCP servers.
            self.host.wait(REJECTED_PAUSE);
            return Ok(Some(Progress::Waiting));
        }
        // The command may also have replaced the text in the composer.
        let is_replaced = elapsed > REPLACED_DELAY && screen.row().is_some() && !is_typed;
        let is_taken = view == View::Empty || view == View::Shell || self.is_blocked(view);
        Ok(((has_reacted && is_taken) || is_replaced).then(|| self.done(OutcomeKind::Taken, screen, view)))
    }

    /// Returns the last step if the terminal is gone.
    fn without_terminal(&mut self, entry: &Entry, is_command: bool) -> Progress {
        let kind = match (self.has_arrived(&entry.before), is_command) {
            (true, _) => OutcomeKind::Arrived,
            (false, true) => OutcomeKind::Taken,
            (false, false) => OutcomeKind::Ended,
        };
        Progress::Done(self.outcome(kind))
    }

    /// Returns the last step if Codex has exited.
    fn exited(&mut self, entry: &Entry, screen: &Screen) -> Progress {
        let kind = if self.has_arrived(&entry.before) { OutcomeKind::Arrived } else { OutcomeKind::Ended };
        self.done(kind, screen, View::Shell)
    }

    /// Returns the next step if Codex did not record the message in time.
    fn time_is_up(&mut self, entry: Entry, screen: &Screen, view: View) -> Progress {
        if view == View::Empty && screen.has_queued(&self.message.typed) {
            return self.done(OutcomeKind::Queued, screen, view);
        }
        if self.contains(screen, &entry) && !self.is_blocked(view) {
            return Progress::Withdrawing(entry);
        }
        self.done(OutcomeKind::Unconfirmed, screen, view)
    }

    fn delete(&mut self) -> Result<(), Fault> {
        let change = self.next_change();
        self.change(Effect::Delete { keys: self.message.keys() }, change)
    }

    /// Deletes the text, and finds out whether it was deleted before Codex took it.
    fn withdraw(&mut self, entry: &Entry) -> Result<Progress, Fault> {
        let screen = match self.host.look() {
            Ok(look) => look.screen,
            Err(Fault::Terminal(_)) => return Ok(self.without_terminal(entry, false)),
            Err(fault) => return Err(fault),
        };
        let rows = screen.rows_with(&self.message.typed);
        let view = screen.view_with(&self.message.typed);
        let is_deleted = self.contains(&screen, entry) && !self.is_blocked(view);
        if is_deleted {
            self.delete()?;
        }
        let begun = self.host.now();
        loop {
            let screen = match self.host.look() {
                Ok(look) => look.screen,
                Err(Fault::Terminal(_)) => return Ok(self.without_terminal(entry, false)),
                Err(fault) => return Err(fault),
            };
            let view = screen.view_with(&self.message.typed);
            let is_typed = self.contains(&screen, entry);
            if is_typed && self.host.now().saturating_sub(begun) < DELETED_TIMEOUT {
                self.host.wait(PAUSE);
                continue;
            }
            // A Codex that did not react may have got the Enter before the keys that delete the text.
            self.host.wait(LONG_PAUSE);
            let kind = if self.has_arrived(&entry.before) {
                OutcomeKind::Arrived
            } else if screen.has_queued(&self.message.typed) {
                OutcomeKind::Queued
            } else if is_deleted && !is_typed && screen.rows_with(&self.message.typed) < rows {
                OutcomeKind::NotTaken
            } else {
                OutcomeKind::Unconfirmed
            };
            return Ok(self.done(kind, &screen, view));
        }
    }
}
