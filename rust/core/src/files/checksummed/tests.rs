use proptest::prelude::*;

use super::*;

type State = (u64, String, Vec<Option<u8>>);

fn state() -> impl Strategy<Value = State> {
    (any::<u64>(), ".{0,20}", prop::collection::vec(any::<Option<u8>>(), 0..20))
}

#[test]
fn too_few_bytes_are_unreadable() {
    assert_eq!(decode::<()>(1, b""), Err(Unreadable { version: 0 }));
    assert_eq!(decode::<()>(1, &[1; CHECKSUM]), Err(Unreadable { version: 1 }));
}

#[test]
fn a_state_of_another_type_is_unreadable() {
    let encoded = encode(1, &7_u8);
    assert_eq!(decode::<u8>(1, &encoded), Ok(7));
    assert_eq!(decode::<String>(1, &encoded), Err(Unreadable { version: 1 }));
}

proptest! {
    #[test]
    fn encoded_states_are_decoded(state in state(), version in any::<u8>()) {
        prop_assert_eq!(decode::<State>(version, &encode(version, &state)), Ok(state));
    }

    #[test]
    fn another_version_is_reported(state in state(), version in any::<u8>(), other in any::<u8>()) {
        prop_assume!(version != other);
        prop_assert_eq!(decode::<State>(other, &encode(version, &state)), Err(Unreadable { version }));
    }

    #[test]
    fn damaged_and_truncated_bytes_are_unreadable(
        state in state(),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..,
    ) {
        let encoded = encode(1, &state);
        let at = at.index(encoded.len());
        prop_assert!(decode::<State>(1, &encoded[..at]).is_err());
        let mut damaged = encoded.clone();
        damaged[at] ^= flipped;
        prop_assert!(decode::<State>(1, &damaged).is_err());
        // The checksum covers the version, so that a damaged version is detected too.
        prop_assert!(decode::<State>(damaged[0], &damaged).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_unreadable(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let version = bytes.first().copied().unwrap_or(0);
        prop_assert_eq!(decode::<State>(version, &bytes), Err(Unreadable { version }));
    }
}
