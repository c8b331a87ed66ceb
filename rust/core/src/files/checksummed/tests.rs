use proptest::prelude::*;

use super::*;

type State = (u64, String, Vec<Option<u8>>);

fn state() -> impl Strategy<Value = State> {
    (any::<u64>(), ".{0,20}", prop::collection::vec(any::<Option<u8>>(), 0..20))
}

#[test]
fn nothing_is_no_state() {
    assert_eq!(open::<()>(1, b""), Err(Broken { version: 0 }));
    assert_eq!(open::<()>(1, &[1; SUM]), Err(Broken { version: 1 }));
}

#[test]
fn a_state_of_another_kind_is_broken() {
    let sealed = seal(1, &7_u8);
    assert_eq!(open::<u8>(1, &sealed), Ok(7));
    assert_eq!(open::<String>(1, &sealed), Err(Broken { version: 1 }));
}

proptest! {
    #[test]
    fn what_was_sealed_opens_again(state in state(), version in any::<u8>()) {
        prop_assert_eq!(open::<State>(version, &seal(version, &state)), Ok(state));
    }

    #[test]
    fn another_version_is_told(state in state(), version in any::<u8>(), other in any::<u8>()) {
        prop_assume!(version != other);
        prop_assert_eq!(open::<State>(other, &seal(version, &state)), Err(Broken { version }));
    }

    #[test]
    fn harmed_or_cut_bytes_do_not_open(state in state(), at in any::<prop::sample::Index>(), harm in 1_u8..) {
        let sealed = seal(1, &state);
        let at = at.index(sealed.len());
        prop_assert!(open::<State>(1, &sealed[..at]).is_err());
        let mut harmed = sealed.clone();
        harmed[at] ^= harm;
        prop_assert!(open::<State>(1, &harmed).is_err());
        // Nor do they where the version fits: it is under the seal.
        prop_assert!(open::<State>(harmed[0], &harmed).is_err());
    }

    #[test]
    fn any_bytes_are_broken(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let version = bytes.first().copied().unwrap_or(0);
        prop_assert_eq!(open::<State>(version, &bytes), Err(Broken { version }));
    }
}
