//! Blocks for every processor.

use super::Block;

/// Eight bytes in an ordinary register. The first byte is the lowest.
#[derive(Clone, Copy)]
pub(crate) struct Portable(u64);

/// 0x80 in every byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// 0x01 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;

impl Portable {
    /// Returns the high bit of each byte as a mask. No other bit may be set.
    #[inline(always)]
    fn gather(high_bits: u64) -> u64 {
        // The multiplier moves the bit of byte `i` to position 56 + i. No two products overlap.
        ((high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56
    }
}

// SAFETY: There are 8 lanes. `load` and `store` access exactly 8 bytes, and `write_unescaped` is the default, which writes
// nothing. `gather` returns 8 bits, and the tests compare all masks for all bytes in all lanes with byte-by-byte answers.
unsafe impl Block for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(start: *const u8) -> Self {
        // SAFETY: The caller guarantees 8 readable bytes, and an unaligned read needs no alignment.
        Self(u64::from_le(unsafe { start.cast::<u64>().read_unaligned() }))
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut u8) {
        // SAFETY: The caller guarantees 8 writable bytes, and an unaligned write needs no alignment.
        unsafe { out.cast::<u64>().write_unaligned(self.0.to_le()) }
    }

    #[inline(always)]
    unsafe fn equal(self, byte: u8) -> u64 {
        let differing = self.0 ^ (ONES * u64::from(byte));
        // A byte of `differing` is zero if and only if its low seven bits do not carry into bit 7, and bit 7 is not set.
        let carried = (differing & !HIGH).wrapping_add(!HIGH);
        Self::gather(!(carried | differing) & HIGH)
    }

    #[inline(always)]
    unsafe fn control(self) -> u64 {
        // Adding 0x60 to the low seven bits sets bit 7 if they are 0x20 or above.
        let reached = (self.0 & !HIGH).wrapping_add(ONES * 0x60);
        Self::gather(!(reached | self.0) & HIGH)
    }

    #[inline(always)]
    unsafe fn non_ascii(self) -> u64 {
        Self::gather(self.0 & HIGH)
    }

    #[inline(always)]
    unsafe fn continuation(self) -> u64 {
        // Bit 7 is set, and bit 6 is not.
        Self::gather(self.0 & !(self.0 << 1) & HIGH)
    }
}
