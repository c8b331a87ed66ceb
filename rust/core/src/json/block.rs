//! Blocks of bytes looked at together, the innermost step of the [scanner](super::scan).
//!
//! A block answers with bit masks, one bit a byte, lowest bit first. Three
//! implementations give the same masks: AVX-512 and AVX2 where the processor
//! has them (asked at run time), and a portable one of 8 bytes.

use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes that must be readable behind the last byte that is scanned, so that a
/// block can be loaded from any place inside a line.
pub const PADDING: usize = 64;

/// A load of [`Block::LANES`] bytes and the questions that JSON strings ask of it.
///
/// # Safety
///
/// Implementors may use instructions beyond the target's baseline: callers
/// prove that the processor has them (see [`super::scan::scan`]).
pub trait Block: Copy {
    /// Bytes in a block, at most 64.
    const LANES: usize;

    /// Loads the block that starts at `start`.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `start` on must be readable, and the processor
    /// must have the instructions of the implementation.
    unsafe fn load(start: *const u8) -> Self;

    /// Loads the first `length` bytes from `start` on, fewer than a block, with zeros behind them.
    ///
    /// # Safety
    ///
    /// `length` bytes from `start` on must be readable, and the processor must have the instructions of the
    /// implementation.
    #[inline(always)]
    #[must_use]
    unsafe fn load_part(start: *const u8, length: usize) -> Self {
        let mut block = [0; 64];
        // SAFETY: `length` bytes are readable, and the block has room for more.
        unsafe {
            std::ptr::copy_nonoverlapping(start, block.as_mut_ptr(), length);
            Self::load(block.as_ptr())
        }
    }

    /// Writes the block to `out`.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `out` on must be writable, and the processor must have the instructions of the
    /// implementation.
    unsafe fn store(self, out: *mut u8);

    /// The bytes that equal `byte`.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn equal(self, byte: u8) -> u64;

    /// The bytes that are the same in both.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn same(self, other: Self) -> u64;

    /// The bytes below 0x20.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn control(self) -> u64;

    /// The decimal digits.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn digits(self) -> u64;

    /// The backslashes, the bytes below 0x20 and those of 0x80 and above: what a plain string does not hold.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    #[inline(always)]
    unsafe fn not_plain(self) -> u64 {
        // SAFETY: the caller's.
        unsafe { self.equal(b'\\') | self.control() | self.non_ascii() }
    }

    /// The bytes of 0x80 and above.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn non_ascii(self) -> u64;

    /// The bytes from 0x80 to 0xBF: in UTF-8 those that go on with a character.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of the implementation.
    unsafe fn continuation(self) -> u64;

    /// Writes the block to `out` without the bytes in `escaping`, and those in `escaped` as the characters that they
    /// stand for behind a backslash; gives `false`, and may have written anything, where it cannot: where one of them
    /// needs more than itself to be told (`u`), or where the processor has no instruction for it.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `out` on must be writable, and the processor must have the instructions of the
    /// implementation.
    #[inline(always)]
    unsafe fn write_unescaped(self, escaping: u64, escaped: u64, out: *mut u8) -> bool {
        let _ = (escaping, escaped, out);
        false
    }
}

/// A mask of the first `lanes` bytes of a block, at most 64.
#[inline(always)]
#[must_use]
pub fn below(lanes: usize) -> u64 {
    if lanes >= 64 { u64::MAX } else { (1 << lanes) - 1 }
}

/// Of a block's backslashes those that escape, and the bytes that they escape; `carried` goes from block to block.
///
/// Where no two backslashes meet, each escapes its neighbour. Where they do, every other one of a run is itself
/// escaped: a run's escaping backslashes are those at even distance from its start.
#[inline(always)]
pub fn escapes<B: Block>(backslashes: u64, carried: &mut u64) -> (u64, u64) {
    let lanes = below(B::LANES);
    // A backslash that is itself escaped by the block before escapes nothing.
    let mut escaping = backslashes & !*carried;
    if escaping & (escaping << 1) != 0 {
        let mut rest = escaping;
        escaping = 0;
        while rest != 0 {
            let first = rest & rest.wrapping_neg();
            escaping |= first;
            // The byte behind an escaping backslash is escaped, whatever it is.
            rest &= !(first | (first << 1));
        }
    }
    let escaped = ((escaping << 1) | *carried) & lanes;
    *carried = escaping >> (B::LANES - 1);
    (escaping, escaped)
}

/// Where the first byte below 0x20 stands, such as a line's end.
#[must_use]
#[inline]
pub fn find_control(bytes: &[u8]) -> Option<usize> {
    match Instructions::best() {
        // SAFETY: `Instructions::best` asked the processor for each of the features.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { find_control_avx512(bytes) },
        // SAFETY: the same.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { find_control_avx2(bytes) },
        // SAFETY: the portable block needs no feature.
        _ => unsafe { find_control_in::<Portable>(bytes) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn find_control_avx512(bytes: &[u8]) -> Option<usize> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { find_control_in::<Avx512>(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn find_control_avx2(bytes: &[u8]) -> Option<usize> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { find_control_in::<Avx2>(bytes) }
}

/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn find_control_in<B: Block>(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while bytes.len() - at >= B::LANES {
        // SAFETY: `B::LANES` bytes are left from `at` on.
        let found = unsafe { B::load(bytes.as_ptr().add(at)).control() };
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += B::LANES;
    }
    bytes[at..].iter().position(|byte| *byte < 0x20).map(|found| at + found)
}

/// Where the quote stands that ends a string, in `content`, which is a piece of one; `is_escaped` tells whether its first
/// byte is escaped by the piece before, and where no quote is found whether that of the next piece is.
#[must_use]
pub fn find_quote(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    match Instructions::best() {
        // SAFETY: `Instructions::best` asked the processor for each of the features.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { find_quote_avx512(content, is_escaped) },
        // SAFETY: the same.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { find_quote_avx2(content, is_escaped) },
        // SAFETY: the portable block needs no feature.
        _ => unsafe { find_quote_in::<Portable>(content, is_escaped) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn find_quote_avx512(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { find_quote_in::<Avx512>(content, is_escaped) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn find_quote_avx2(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { find_quote_in::<Avx2>(content, is_escaped) }
}

/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn find_quote_in<B: Block>(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    let mut carried = u64::from(*is_escaped);
    let mut at = 0;
    while content.len() - at >= B::LANES {
        // SAFETY: `B::LANES` bytes are left from `at` on.
        let (backslashes, quotes) = unsafe {
            let block = B::load(content.as_ptr().add(at));
            (block.equal(b'\\'), block.equal(b'"'))
        };
        let (_, escaped) = escapes::<B>(backslashes, &mut carried);
        let quotes = quotes & !escaped;
        if quotes != 0 {
            *is_escaped = false;
            return Some(at + quotes.trailing_zeros() as usize);
        }
        at += B::LANES;
    }
    *is_escaped = carried != 0;
    for (place, byte) in content.iter().enumerate().skip(at) {
        match byte {
            _ if *is_escaped => *is_escaped = false,
            b'\\' => *is_escaped = true,
            b'"' => return Some(place),
            _ => {}
        }
    }
    None
}

/// Eight bytes in a register, for every processor.
#[derive(Clone, Copy)]
pub struct Portable(u64);

/// 0x80 in every byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// 0x01 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;

impl Portable {
    /// Gathers the high bit of each byte into the low 8 bits.
    #[inline(always)]
    fn gather(high_bits: u64) -> u64 {
        // The multiplier places the bit of byte `i` at position 56 + i; no two products meet.
        ((high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56
    }
}

impl Block for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(start: *const u8) -> Self {
        // SAFETY: the caller has 8 readable bytes; the read has no alignment demand.
        Self(u64::from_le(unsafe { start.cast::<u64>().read_unaligned() }))
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut u8) {
        // SAFETY: the caller has 8 writable bytes; the write has no alignment demand.
        unsafe { out.cast::<u64>().write_unaligned(self.0.to_le()) }
    }

    #[inline(always)]
    unsafe fn equal(self, byte: u8) -> u64 {
        let differing = self.0 ^ (ONES * u64::from(byte));
        // A byte of `differing` is zero exactly where neither its low seven bits carry into bit 7 nor bit 7 is set.
        let carried = (differing & !HIGH).wrapping_add(!HIGH);
        Self::gather(!(carried | differing) & HIGH)
    }

    #[inline(always)]
    unsafe fn same(self, other: Self) -> u64 {
        // SAFETY: needs nothing.
        unsafe { Self(self.0 ^ other.0).equal(0) }
    }

    #[inline(always)]
    unsafe fn control(self) -> u64 {
        // Adding 0x60 to the low seven bits reaches bit 7 for 0x20 and above.
        let reached = (self.0 & !HIGH).wrapping_add(ONES * 0x60);
        Self::gather(!(reached | self.0) & HIGH)
    }

    #[inline(always)]
    unsafe fn digits(self) -> u64 {
        let mixed = self.0 ^ (ONES * u64::from(b'0'));
        // Of what is left, 10 and above reach bit 7.
        let others = ((mixed & !HIGH) + ONES * 0x76) | mixed;
        Self::gather(!others & HIGH)
    }

    #[inline(always)]
    unsafe fn non_ascii(self) -> u64 {
        Self::gather(self.0 & HIGH)
    }

    #[inline(always)]
    unsafe fn continuation(self) -> u64 {
        // Bit 7 is set and bit 6, moved up, is not.
        Self::gather(self.0 & !(self.0 << 1) & HIGH)
    }
}

/// The instructions that may be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512 with byte masks and VBMI2 (Intel since Ice Lake, AMD since Zen 4).
    Avx512,
    /// AVX2.
    Avx2,
    /// What every processor has.
    Portable,
}

impl Instructions {
    /// The best that this processor has.
    #[must_use]
    #[inline]
    pub fn best() -> Self {
        /// What was found, one more than the variant's number; 0 before.
        static FOUND: AtomicU8 = AtomicU8::new(0);
        match FOUND.load(Ordering::Relaxed) {
            1 => Self::Avx512,
            2 => Self::Avx2,
            3 => Self::Portable,
            _ => {
                let best = Self::ask();
                FOUND.store(best as u8 + 1, Ordering::Relaxed);
                best
            }
        }
    }

    /// Asks the processor.
    #[cold]
    fn ask() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_bits = is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            if has_bits
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi2")
            {
                return Self::Avx512;
            }
            if has_bits && is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Block;
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_min_epu8,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_storeu_si256, _mm256_sub_epi8,
        _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
        _mm512_mask_blend_epi8, _mm512_maskz_compress_epi8, _mm512_maskz_loadu_epi8, _mm512_movepi8_mask,
        _mm512_set1_epi8, _mm512_storeu_si512, _mm512_sub_epi8,
    };

    /// 64 bytes in one AVX-512 register (AVX512F, AVX512BW and AVX512VBMI2).
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512i);

    impl Block for Avx512 {
        const LANES: usize = 64;

        #[inline(always)]
        unsafe fn load(start: *const u8) -> Self {
            // SAFETY: the caller has 64 readable bytes and AVX-512.
            Self(unsafe { _mm512_loadu_si512(start.cast()) })
        }

        #[inline(always)]
        unsafe fn load_part(start: *const u8, length: usize) -> Self {
            // SAFETY: only the bytes that the mask names are read, and the caller has AVX-512.
            Self(unsafe { _mm512_maskz_loadu_epi8(super::below(length), start.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, out: *mut u8) {
            // SAFETY: the caller has 64 writable bytes and AVX-512.
            unsafe { _mm512_storeu_si512(out.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn equal(self, byte: u8) -> u64 {
            // SAFETY: the caller has AVX-512.
            unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte.cast_signed())) }
        }

        #[inline(always)]
        unsafe fn same(self, other: Self) -> u64 {
            // SAFETY: the caller has AVX-512.
            unsafe { _mm512_cmpeq_epi8_mask(self.0, other.0) }
        }

        #[inline(always)]
        unsafe fn control(self) -> u64 {
            // SAFETY: the caller has AVX-512.
            unsafe { _mm512_cmplt_epu8_mask(self.0, _mm512_set1_epi8(0x20)) }
        }

        #[inline(always)]
        unsafe fn digits(self) -> u64 {
            // SAFETY: the caller has AVX-512.
            unsafe {
                let numbers = _mm512_sub_epi8(self.0, _mm512_set1_epi8(b'0'.cast_signed()));
                _mm512_cmplt_epu8_mask(numbers, _mm512_set1_epi8(10))
            }
        }

        #[inline(always)]
        unsafe fn not_plain(self) -> u64 {
            // SAFETY: the caller has AVX-512. As signed numbers the bytes of 0x80 and above are below 0x20 too.
            unsafe { self.equal(b'\\') | _mm512_cmplt_epi8_mask(self.0, _mm512_set1_epi8(0x20)) }
        }

        #[inline(always)]
        unsafe fn non_ascii(self) -> u64 {
            // SAFETY: the caller has AVX-512.
            unsafe { _mm512_movepi8_mask(self.0) }
        }

        #[inline(always)]
        unsafe fn continuation(self) -> u64 {
            // SAFETY: the caller has AVX-512. As signed numbers these are the bytes below -64.
            unsafe { _mm512_cmplt_epi8_mask(self.0, _mm512_set1_epi8(-64)) }
        }

        #[inline(always)]
        unsafe fn write_unescaped(self, escaping: u64, escaped: u64, out: *mut u8) -> bool {
            // SAFETY: the caller has AVX-512 with VBMI2, and 64 writable bytes.
            unsafe {
                let (newlines, tabs) = (self.equal(b'n') & escaped, self.equal(b't') & escaped);
                let themselves = self.equal(b'"') | self.equal(b'\\') | self.equal(b'/');
                if escaped & !(newlines | tabs | themselves) != 0 {
                    return false;
                }
                let bytes = _mm512_mask_blend_epi8(newlines, self.0, _mm512_set1_epi8(b'\n'.cast_signed()));
                let bytes = _mm512_mask_blend_epi8(tabs, bytes, _mm512_set1_epi8(b'\t'.cast_signed()));
                _mm512_storeu_si512(out.cast(), _mm512_maskz_compress_epi8(!escaping, bytes));
            }
            true
        }
    }

    /// 64 bytes in two AVX2 registers.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256i, __m256i);

    /// Joins the masks of the two halves.
    #[inline(always)]
    fn join(low: i32, high: i32) -> u64 {
        u64::from(low.cast_unsigned()) | (u64::from(high.cast_unsigned()) << 32)
    }

    impl Block for Avx2 {
        const LANES: usize = 64;

        #[inline(always)]
        unsafe fn load(start: *const u8) -> Self {
            // SAFETY: the caller has 64 readable bytes and AVX2.
            unsafe { Self(_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(32).cast())) }
        }

        #[inline(always)]
        unsafe fn store(self, out: *mut u8) {
            // SAFETY: the caller has 64 writable bytes and AVX2.
            unsafe {
                _mm256_storeu_si256(out.cast(), self.0);
                _mm256_storeu_si256(out.add(32).cast(), self.1);
            }
        }

        #[inline(always)]
        unsafe fn equal(self, byte: u8) -> u64 {
            // SAFETY: the caller has AVX2.
            unsafe {
                let wanted = _mm256_set1_epi8(byte.cast_signed());
                join(
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.0, wanted)),
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.1, wanted)),
                )
            }
        }

        #[inline(always)]
        unsafe fn same(self, other: Self) -> u64 {
            // SAFETY: the caller has AVX2.
            unsafe {
                join(
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.0, other.0)),
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.1, other.1)),
                )
            }
        }

        #[inline(always)]
        unsafe fn control(self) -> u64 {
            // SAFETY: the caller has AVX2. The unsigned maximum with 0x1F is 0x1F only for bytes below 0x20.
            unsafe {
                let last = _mm256_set1_epi8(0x1F);
                join(
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(self.0, last), last)),
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(self.1, last), last)),
                )
            }
        }

        #[inline(always)]
        unsafe fn digits(self) -> u64 {
            // SAFETY: the caller has AVX2.
            unsafe {
                let (zero, nine) = (_mm256_set1_epi8(b'0'.cast_signed()), _mm256_set1_epi8(9));
                let is_digit = |bytes| {
                    let number = _mm256_sub_epi8(bytes, zero);
                    _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(number, nine), number))
                };
                join(is_digit(self.0), is_digit(self.1))
            }
        }

        #[inline(always)]
        unsafe fn not_plain(self) -> u64 {
            // SAFETY: the caller has AVX2. As signed numbers the bytes of 0x80 and above are below 0x20 too.
            unsafe {
                let (backslash, space) = (_mm256_set1_epi8(b'\\'.cast_signed()), _mm256_set1_epi8(0x20));
                let is_not_plain = |bytes| {
                    let found = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, backslash), _mm256_cmpgt_epi8(space, bytes));
                    _mm256_movemask_epi8(found)
                };
                join(is_not_plain(self.0), is_not_plain(self.1))
            }
        }

        #[inline(always)]
        unsafe fn non_ascii(self) -> u64 {
            // SAFETY: the caller has AVX2.
            unsafe { join(_mm256_movemask_epi8(self.0), _mm256_movemask_epi8(self.1)) }
        }

        #[inline(always)]
        unsafe fn continuation(self) -> u64 {
            // SAFETY: the caller has AVX2. As signed numbers these are the bytes below -64.
            unsafe {
                let limit = _mm256_set1_epi8(-64);
                join(
                    _mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, self.0)),
                    _mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, self.1)),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every mask of `B` with a byte-by-byte answer, for every byte value at every lane.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of `B`.
    unsafe fn masks_are_exact<B: Block>() {
        for value in 0..=255_u8 {
            for lane in 0..B::LANES {
                let mut bytes = [b'x'; 64];
                bytes[lane] = value;
                let lanes = &bytes[..B::LANES];
                let expect = |wanted: &dyn Fn(u8) -> bool| {
                    lanes.iter().enumerate().fold(0_u64, |mask, (at, byte)| mask | (u64::from(wanted(*byte)) << at))
                };
                // SAFETY: 64 bytes are readable; the caller has the instructions.
                unsafe {
                    let block = B::load(bytes.as_ptr());
                    assert_eq!(block.equal(b'"'), expect(&|byte| byte == b'"'), "quote, {value:#x} at {lane}");
                    assert_eq!(block.equal(b'x'), expect(&|byte| byte == b'x'), "x, {value:#x} at {lane}");
                    assert_eq!(block.control(), expect(&|byte| byte < 0x20), "control, {value:#x} at {lane}");
                    assert_eq!(block.non_ascii(), expect(&|byte| byte >= 0x80), "non-ASCII, {value:#x} at {lane}");
                    let goes_on = expect(&|byte| byte & 0xC0 == 0x80);
                    assert_eq!(block.continuation(), goes_on, "continuation, {value:#x} at {lane}");
                }
            }
        }
    }

    #[test]
    fn the_first_control_character_is_found_wherever_it_stands() {
        for length in 0..200 {
            let mut bytes = vec![b' '; length];
            assert_eq!(find_control(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'\n';
                assert_eq!(find_control(&bytes), Some(at));
                // SAFETY: the portable block needs no instructions of its own.
                assert_eq!(unsafe { find_control_in::<Portable>(&bytes) }, Some(at));
            }
        }
    }

    /// As [`find_quote`], byte by byte.
    fn find_quote_slowly(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
        content.iter().position(|byte| {
            let was_escaped = std::mem::replace(is_escaped, !*is_escaped && *byte == b'\\');
            *byte == b'"' && !was_escaped
        })
    }

    proptest::proptest! {
        #[test]
        fn the_quote_that_ends_a_string_is_found(content in "[a\\\\]{0,150}(\"[a\\\\\"]{0,30})?", escaped: bool) {
            let mut wanted = (None, escaped);
            wanted.0 = find_quote_slowly(content.as_bytes(), &mut wanted.1);
            let (mut best, mut portable) = (escaped, escaped);
            let found = find_quote(content.as_bytes(), &mut best);
            proptest::prop_assert_eq!((found, best), wanted);
            // SAFETY: the portable block needs no instructions of its own.
            let found = unsafe { find_quote_in::<Portable>(content.as_bytes(), &mut portable) };
            proptest::prop_assert_eq!((found, portable), wanted);
        }
    }

    #[test]
    fn every_implementation_gives_exact_masks() {
        // SAFETY: the portable block needs no instructions of its own, the others are asked for.
        unsafe {
            masks_are_exact::<Portable>();
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx2") {
                    masks_are_exact::<Avx2>();
                }
                if Instructions::best() == Instructions::Avx512 {
                    masks_are_exact::<Avx512>();
                }
            }
        }
    }
}
