//! What is to be done before a signal ends the program.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals by which a user or the system stops a program, but for those that it was started to ignore (`nohup`).
fn stopping() -> impl Iterator<Item = i32> {
    [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is set, and `action` has room for the answer.
    let status = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call that gave 0 has written it.
    status == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Ends the program as a signal ends one that does not handle it.
pub fn end_as_if_by(signal: i32) {
    // Where it cannot be done, the program ends with a message instead.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Removes a temporary file when the user or the system stops the program.
pub fn remove_when_stopped(temporary: PathBuf) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(stopping())?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let _ = fs::remove_file(&temporary);
            end_as_if_by(signal);
        }
    });
    Ok(())
}

/// Lets a signal pass that is meant for another program at the same terminal, such as a pager.
pub fn leave_to_others(signal: i32) {
    // Where it cannot be done, the signal ends this program too.
    let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
}

/// Does what must not be stopped half way: a signal that comes meanwhile ends the program when it is done.
pub fn uninterrupted<T>(act: impl FnOnce() -> T) -> io::Result<T> {
    let is_done = Arc::new(AtomicBool::new(false));
    let came = Arc::new(AtomicUsize::new(0));
    for signal in stopping() {
        signal_hook::flag::register_usize(signal, Arc::clone(&came), usize::try_from(signal).unwrap_or(0))?;
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_done))?;
    }
    let result = act();
    // From here on a signal ends the program by itself.
    is_done.store(true, Ordering::SeqCst);
    match came.load(Ordering::SeqCst) {
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

    /// Tells a test that it is run by another one, and which signal is to come.
    const SIGNAL: &str = "MNGR_CODEX_TEST_SIGNAL";

    /// Runs what `SIGNAL` stands for in a process of its own, behind `prepare` in a shell.
    fn in_another_process(signal: i32, prepare: &str) -> Output {
        let program = std::env::current_exe().expect("it runs");
        let script = format!("{prepare} exec \"$0\" --exact signals::tests::act --nocapture");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program).env(SIGNAL, signal.to_string());
        command.output().expect("can be run")
    }

    /// Not a test, but what the other ones run.
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
    fn a_signal_ends_the_program_when_all_is_done() {
        // Whoever runs the tests in the background may have had SIGINT ignored.
        let signals: Vec<i32> = stopping().collect();
        assert!(signals.contains(&SIGTERM));
        for signal in signals {
            let ended = in_another_process(signal, "");
            let told = String::from_utf8_lossy(&ended.stdout);
            assert!(told.contains("done") && !told.contains("after"), "{told}");
            assert_eq!(ended.status.signal(), Some(signal));
        }
    }

    #[test]
    fn a_signal_that_was_ignored_stays_so() {
        let ended = in_another_process(SIGHUP, "trap '' HUP;");
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(told.contains("after") && told.contains("ignored"), "{told}");
        assert!(ended.status.success());
    }
}
