use std::process::{Child, Command};

use super::*;

fn sleeping() -> (Child, Pid) {
    let child = Command::new("sleep").arg("60").spawn().expect("can be started");
    let pid = Pid::from_child(&child);
    (child, pid)
}

fn polled(process: Pid) -> Option<ProcessExit> {
    let descriptor = poll_process(process).expect("can be polled")?;
    Some(ProcessExit { descriptor, polling: Some(Errno::NOSYS.into()) })
}

#[test]
fn the_exit_of_a_process_is_reported() {
    let (mut child, pid) = sleeping();
    let exit = ProcessExit::of(pid).expect("can be watched").expect("exists");
    assert!(!exit.happens_within(Duration::from_millis(10)));
    child.kill().expect("can be killed");
    assert!(exit.happens_within(Duration::from_secs(10)));
    child.wait().expect("can be collected");
    assert!(ProcessExit::of(pid).expect("can be watched").is_none());
}

#[test]
fn a_polled_process_has_exited_before_its_status_is_collected() {
    let (mut child, pid) = sleeping();
    let exit = polled(pid).expect("exists");
    assert!(!exit.happens_within(POLL_INTERVAL * 2));
    child.kill().expect("can be killed");
    assert!(exit.happens_within(Duration::from_secs(10)));
    assert!(polled(pid).is_none(), "it is a zombie");
    child.wait().expect("can be collected");
    assert!(polled(pid).is_none());
}
