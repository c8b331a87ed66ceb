//! Cleaning up before a signal ends the program.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Returns the signals that stop a program, except for the ones it was started to ignore (`nohup`).
fn stopping() -> impl Iterator<Item = i32> {
    [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: A null `act` makes `sigaction` only report the current action, and `action` is valid for writing one.
    let status = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: `sigaction` returned 0, so it has initialized `action`.
    status == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Ends the program with the default action of a signal, so that the parent process sees that the signal killed it.
pub(crate) fn end_as_if_by(signal: i32) {
    // If this fails, the caller reports an error instead.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Removes a temporary file if a signal stops the program.
pub(crate) fn remove_when_stopped(temporary: PathBuf) -> io::Result<()> {
    act_when_stopped(move || {
        let _ = fs::remove_file(&temporary);
    })
}

/// Runs an action, in another thread, before a signal stops the program.
pub(crate) fn act_when_stopped(act: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(stopping())?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            act();
            end_as_if_by(signal);
        }
    });
    Ok(())
}

/// Ignores a signal that is meant for another program on the same terminal, such as a pager.
pub(crate) fn leave_to_others(signal: i32) {
    // If this fails, the signal ends this program too.
    let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
}

/// Returns a flag that is set when the user stops the program, which then continues until it has cleaned up.
pub(crate) fn noted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in stopping().filter(|signal| *signal != SIGHUP) {
        // If this fails, the signal ends the program.
        let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
    }
    flag
}

/// Runs an action that must not be interrupted. A signal that arrives during it ends the program afterwards.
pub(crate) fn uninterrupted<T>(act: impl FnOnce() -> T) -> io::Result<T> {
    let is_done = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicUsize::new(0));
    for signal in stopping() {
        signal_hook::flag::register_usize(signal, Arc::clone(&received), usize::try_from(signal).unwrap_or(0))?;
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_done))?;
    }
    let result = act();
    // From here on, a signal ends the program immediately.
    is_done.store(true, Ordering::SeqCst);
    match received.load(Ordering::SeqCst) {
        0 => {}
        signal => end_as_if_by(i32::try_from(signal).unwrap_or(SIGTERM)),
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};

    use super::*;

    /// Names the signal that the child process of a test raises.
    const SIGNAL: &str = "MNGR_CODEX_TEST_SIGNAL";

    /// Runs `act` with a signal in another process, after `prepare` in a shell.
    fn in_another_process(signal: i32, prepare: &str) -> Output {
        let program = std::env::current_exe().expect("it runs");
        let script = format!("{prepare} exec \"$0\" --exact signals::tests::act --nocapture");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program).env(SIGNAL, signal.to_string());
        command.output().expect("can be run")
    }

    /// The child process of the other tests.
    #[test]
    fn act() {
        let Ok(signal) = std::env::var(SIGNAL) else { return };
        let signal = signal.parse().expect("a number");
        let result = uninterrupted(|| {
            signal_hook::low_level::raise(signal).expect("can be raised");
            println!("done");
        });
        assert!(result.is_ok());
        println!("after");
        signal_hook::low_level::raise(signal).expect("can be raised");
        println!("ignored");
    }

    #[test]
    fn a_signal_ends_the_program_after_the_action() {
        // A shell starts background jobs with SIGINT ignored.
        let signals: Vec<i32> = stopping().collect();
        assert!(signals.contains(&SIGTERM));
        for signal in signals {
            let ended = in_another_process(signal, "");
            let output = String::from_utf8_lossy(&ended.stdout);
            assert!(output.contains("done") && !output.contains("after"), "{output}");
            assert_eq!(ended.status.signal(), Some(signal));
        }
    }

    #[test]
    fn an_ignored_signal_stays_ignored() {
        let ended = in_another_process(SIGHUP, "trap '' HUP;");
        let output = String::from_utf8_lossy(&ended.stdout);
        assert!(output.contains("after") && output.contains("ignored"), "{output}");
        assert!(ended.status.success());
    }
}
