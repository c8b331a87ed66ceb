use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use super::*;

fn sleeping() -> (Child, Pid) {
    let child = Command::new("sleep").arg("60").spawn().expect("can be started");
    let pid = Pid::from_child(&child);
    (child, pid)
}

#[test]
fn a_process_is_identified_by_its_start_time() {
    let (mut first, first_pid) = sleeping();
    // The start time has a resolution of 10 ms.
    thread::sleep(Duration::from_millis(50));
    let (mut second, second_pid) = sleeping();
    let of = |pid| ProcessId::of(pid).expect("is running");
    assert_eq!(of(first_pid), of(first_pid));
    let with_id_of_second = ProcessId { id: of(second_pid).id, ..of(first_pid) };
    assert!(of(first_pid).is_running() && !with_id_of_second.is_running());
    let unknown = ProcessId { start_time: None, ..with_id_of_second };
    assert!(unknown.is_running(), "nothing else is known");
    for child in [&mut first, &mut second] {
        child.kill().expect("can be killed");
    }
    let ended = |pid| {
        (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            ProcessId::of(pid).is_none()
        })
    };
    assert!(ended(first_pid), "a zombie has exited");
    for child in [&mut first, &mut second] {
        child.wait().expect("can be collected");
    }
}

#[test]
fn the_parent_is_the_process_that_started_this_one() {
    let parent = ProcessId::of_parent().expect("the tests have a parent");
    assert!(parent.is_running());
    assert_ne!(parent.pid(), Pid::from_raw(i32::try_from(std::process::id()).expect("fits")));
}

#[test]
fn the_name_of_a_program_can_contain_parentheses_and_blanks() {
    let after_state = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 123456 8192 0";
    let status = Status::parse(format!("42 (a) Z (b) S {after_state}").as_bytes()).expect("is complete");
    assert_eq!((status.state, status.start_time), (Some(b'S'), Some(123_456)));
    assert!(status.is_running());
    assert!(Status::parse(b"42 (a) S 1 1").is_none());
}
