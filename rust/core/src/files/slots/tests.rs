use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;

const LAYOUT: Layout = Layout { version: 7, second: 64 << 10, first_read: 16 << 10 };

fn file() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn read(file: &File) -> (Option<(u64, Vec<u8>)>, bool) {
    let latest = LAYOUT.read::<Vec<u8>>(file).expect("can be read");
    ((latest.number > 0).then_some((latest.number, latest.state)), latest.is_damaged)
}

#[test]
fn the_newest_state_counts() {
    let file = file();
    assert_eq!((read(&file), LAYOUT.number(&file).expect("can be read")), ((None, false), 0));
    for (number, byte) in (1..6).zip(1..) {
        let state = vec![byte; 100 * usize::from(byte)];
        LAYOUT.write(&file, number, &state, false).expect("can be written");
        assert_eq!(read(&file), (Some((number, state)), false));
        assert_eq!(LAYOUT.number(&file).expect("can be read"), number);
    }
}

#[test]
fn a_state_of_another_version_is_not_read() {
    let file = file();
    Layout { version: 8, ..LAYOUT }.write(&file, 1, &vec![1_u8], false).expect("can be written");
    assert_eq!(read(&file), (None, true));
}

#[test]
fn a_flag_stays_until_it_is_cleared() {
    let file = file();
    let is_flagged = || LAYOUT.read::<u8>(&file).expect("can be read").is_flagged;
    LAYOUT.write(&file, 1, &1_u8, true).expect("can be written");
    assert!(is_flagged());
    LAYOUT.clear_flag(&file, 1).expect("can be written");
    assert!(!is_flagged());
    LAYOUT.write(&file, 2, &2_u8, true).expect("can be written");
    LAYOUT.clear_flag(&file, 1).expect("can be written");
    assert!(is_flagged());
    LAYOUT.write(&file, 3, &3_u8, false).expect("can be written");
    assert!(!is_flagged());
}

#[test]
fn a_state_that_is_too_large_is_rejected() {
    let file = file();
    LAYOUT.write(&file, 1, &vec![1_u8], false).expect("can be written");
    assert!(LAYOUT.write(&file, 2, &vec![0_u8; 65 << 10], false).is_err());
    assert_eq!(read(&file), (Some((1, vec![1])), false));
}

proptest! {
    #[test]
    fn an_incomplete_write_leaves_the_previous_state(
        states in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 2..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let (complete, incomplete) = (file(), file());
        for (number, state) in (1..).zip(&states) {
            LAYOUT.write(&complete, number, state, false).expect("can be written");
            if number < states.len() as u64 {
                LAYOUT.write(&incomplete, number, state, false).expect("can be written");
            }
        }
        // Only the first bytes of the last state were written.
        let last = states.len() as u64;
        let start = if last % 2 == 1 { 0 } else { LAYOUT.second };
        let mut bytes = vec![0; HEADER + 9 + states[states.len() - 1].len()];
        let length = read_at(&complete, &mut bytes, start).expect("can be read");
        let kept = cut.index(length);
        incomplete.write_all_at(&bytes[..kept], start).expect("can be written");
        let previous = (last - 1, states[states.len() - 2].clone());
        let newest = (last, states[states.len() - 1].clone());
        let found = read(&incomplete).0.expect("one is intact");
        prop_assert!(found == previous || (found == newest && kept + 16 > length), "{} of {}", kept, length);
    }

    #[test]
    fn a_damaged_state_is_not_read(
        state in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..,
    ) {
        let file = file();
        LAYOUT.write(&file, 1, &state, false).expect("can be written");
        let mut bytes = vec![0; 1000];
        let length = read_at(&file, &mut bytes, 0).expect("can be read");
        let at = at.index(length);
        file.write_all_at(&[bytes[at] ^ flipped], at as u64).expect("can be written");
        let (found, is_damaged) = read(&file);
        prop_assert!(found.is_none() || found == Some((1, state)));
        prop_assert!(found.is_some() || is_damaged || bytes[1..9] == [0; 8]);
    }
}
