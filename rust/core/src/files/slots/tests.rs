use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;

const FORM: Form = Form { version: 7, second: 64 << 10, first_read: 16 << 10 };

fn file() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn read(file: &File) -> (Option<(u64, Vec<u8>)>, bool) {
    let found = FORM.read::<Vec<u8>>(file).expect("can be read");
    ((found.number > 0).then_some((found.number, found.state)), found.is_broken)
}

#[test]
fn the_newest_counts() {
    let file = file();
    assert_eq!((read(&file), FORM.number(&file).expect("can be read")), ((None, false), 0));
    for (number, byte) in (1..6).zip(1..) {
        let state = vec![byte; 100 * usize::from(byte)];
        FORM.write(&file, number, &state, false).expect("can be written");
        assert_eq!(read(&file), (Some((number, state)), false));
        assert_eq!(FORM.number(&file).expect("can be read"), number);
    }
}

#[test]
fn a_state_of_another_version_is_none() {
    let file = file();
    Form { version: 8, ..FORM }.write(&file, 1, &vec![1_u8], false).expect("can be written");
    assert_eq!(read(&file), (None, true));
}

#[test]
fn a_note_stands_until_it_is_taken_back() {
    let file = file();
    let has_note = || FORM.read::<u8>(&file).expect("can be read").has_note;
    FORM.write(&file, 1, &1_u8, true).expect("can be written");
    assert!(has_note());
    FORM.take_back_note(&file, 1).expect("can be written");
    assert!(!has_note());
    FORM.write(&file, 2, &2_u8, true).expect("can be written");
    FORM.take_back_note(&file, 1).expect("can be written");
    assert!(has_note());
    FORM.write(&file, 3, &3_u8, false).expect("can be written");
    assert!(!has_note());
}

#[test]
fn what_is_too_large_is_refused() {
    let file = file();
    FORM.write(&file, 1, &vec![1_u8], false).expect("can be written");
    assert!(FORM.write(&file, 2, &vec![0_u8; 65 << 10], false).is_err());
    assert_eq!(read(&file), (Some((1, vec![1])), false));
}

proptest! {
    #[test]
    fn a_write_that_was_cut_leaves_the_state_before(
        states in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 2..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let (whole, torn) = (file(), file());
        for (number, state) in (1..).zip(&states) {
            FORM.write(&whole, number, state, false).expect("can be written");
            if number < states.len() as u64 {
                FORM.write(&torn, number, state, false).expect("can be written");
            }
        }
        // Of the last one only the first bytes were written.
        let last = states.len() as u64;
        let start = if last % 2 == 1 { 0 } else { FORM.second };
        let mut bytes = vec![0; HEADER + 9 + states[states.len() - 1].len()];
        let length = read_at(&whole, &mut bytes, start).expect("can be read");
        let kept = cut.index(length);
        torn.write_all_at(&bytes[..kept], start).expect("can be written");
        let before = (last - 1, states[states.len() - 2].clone());
        let newest = (last, states[states.len() - 1].clone());
        let found = read(&torn).0.expect("one is whole");
        prop_assert!(found == before || (found == newest && kept + 16 > length), "{} of {}", kept, length);
    }

    #[test]
    fn no_damage_is_taken_for_a_state(
        state in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..,
    ) {
        let file = file();
        FORM.write(&file, 1, &state, false).expect("can be written");
        let mut bytes = vec![0; 1000];
        let length = read_at(&file, &mut bytes, 0).expect("can be read");
        let at = at.index(length);
        file.write_all_at(&[bytes[at] ^ flipped], at as u64).expect("can be written");
        let (found, is_broken) = read(&file);
        prop_assert!(found.is_none() || found == Some((1, state)));
        prop_assert!(found.is_some() || is_broken || bytes[1..9] == [0; 8]);
    }
}
