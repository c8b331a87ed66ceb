use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Pairs of texts around the maximum inline length, which often differ in only one byte.
fn texts() -> impl Strategy<Value = (String, String)> {
    let length = prop_oneof![0..4_usize, INLINE_BYTES - 2..INLINE_BYTES + 3, 1..100_usize];
    let change = (any::<prop::sample::Index>(), "[a-z]");
    (length, prop::option::of(change), any::<bool>()).prop_map(|(length, change, is_longer)| {
        let one = "x".repeat(length);
        let mut other = one.clone();
        if let Some((at, letter)) = change.filter(|_| length > 0) {
            let at = at.index(length);
            other.replace_range(at..=at, &letter);
        }
        (one, if is_longer { other + "\0" } else { other })
    })
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes(), false)
}

proptest! {
    #[test]
    fn names_are_equal_if_their_texts_are((one, other) in texts()) {
        prop_assert_eq!(name(&one) == name(&other), one == other);
        let both: HashSet<Name> = [name(&one), name(&other)].into();
        prop_assert_eq!(both.len() == 1, one == other);
        let kept = name(&one);
        prop_assert_eq!(kept.as_bytes(), one.as_bytes());
    }

    #[test]
    fn an_assigned_name_equals_a_new_one((one, other) in texts()) {
        let mut assigned = name(&one);
        assigned.assign(other.as_bytes());
        prop_assert_eq!(&assigned, &name(&other));
        assigned.assign(one.as_bytes());
        prop_assert_eq!(assigned, name(&one));
    }
}
