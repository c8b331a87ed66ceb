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

#[test]
fn a_process_is_identified_by_its_start_time() {
    let (mut first, first_pid) = sleeping();
    // The start time has a resolution of 10 ms.
    thread::sleep(Duration::from_millis(50));
    let (mut second, second_pid) = sleeping();
    let status = |pid| Status::of(pid).expect("exists");
    assert!(status(first_pid).is_same(&status(first_pid)));
    assert!(!status(first_pid).is_same(&status(second_pid)));
    assert!(status(first_pid).is_same(&Status { state: None, start_time: None }), "nothing else is known");
    for child in [&mut first, &mut second] {
        child.kill().and_then(|()| child.wait()).expect("can be killed");
    }
}

#[test]
fn the_name_of_a_program_can_contain_parentheses_and_blanks() {
    let after_state = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 123456 8192 0";
    let status = Status::parse(format!("42 (a) Z (b) S {after_state}").as_bytes()).expect("is complete");
    assert_eq!((status.state, status.start_time), (Some(b'S'), Some(123_456)));
    assert!(status.is_running());
    assert!(Status::parse(b"42 (a) S 1 1").is_none());
}
