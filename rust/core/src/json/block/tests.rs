use super::super::dispatch::{Instructions, Set};
use super::*;

/// Compares every mask of `B` with a byte-by-byte answer, for every byte value in every lane.
///
/// # Safety
///
/// The processor must have the instructions of `B`.
unsafe fn assert_masks_are_exact<B: Block>() {
    for value in 0..=255_u8 {
        for lane in 0..B::LANES {
            let mut bytes = [b'x'; 64];
            bytes[lane] = value;
            let lanes = &bytes[..B::LANES];
            let expect = |has_property: &dyn Fn(u8) -> bool| {
                lanes.iter().enumerate().fold(0_u64, |mask, (at, byte)| mask | (u64::from(has_property(*byte)) << at))
            };
            // SAFETY: `bytes` has 64 bytes, which is the length of the longest block, and the caller guarantees the instructions.
            unsafe {
                let block = B::load(bytes.as_ptr());
                assert_eq!(block.equal(b'"'), expect(&|byte| byte == b'"'), "quote, {value:#x} at {lane}");
                assert_eq!(block.equal(b'x'), expect(&|byte| byte == b'x'), "x, {value:#x} at {lane}");
                assert_eq!(block.control(), expect(&|byte| byte < 0x20), "control, {value:#x} at {lane}");
                assert_eq!(block.non_ascii(), expect(&|byte| byte >= 0x80), "non-ASCII, {value:#x} at {lane}");
                let not_plain = expect(&|byte| !(0x20..0x80).contains(&byte) || byte == b'\\');
                assert_eq!(block.not_plain(), not_plain, "not plain, {value:#x} at {lane}");
                let continuation = expect(&|byte| byte & 0xC0 == 0x80);
                assert_eq!(block.continuation(), continuation, "continuation, {value:#x} at {lane}");
            }
        }
    }
}

#[test]
fn masks_are_exact_in_every_implementation() {
    for instructions in Instructions::all() {
        // SAFETY: `Instructions::all` returns only sets that the processor has.
        unsafe {
            match instructions.set() {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => assert_masks_are_exact::<Avx512>(),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => assert_masks_are_exact::<Avx2>(),
                _ => assert_masks_are_exact::<Portable>(),
            }
        }
    }
}
