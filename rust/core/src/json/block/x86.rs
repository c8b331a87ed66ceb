//! Blocks for processors with AVX2 or AVX-512.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_storeu_si256, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask,
    _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_maskz_compress_epi8,
    _mm512_maskz_loadu_epi8, _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_storeu_si512,
};

use super::Block;

/// 64 bytes in one register, for processors with AVX512F, AVX512BW and AVX512VBMI2.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512i);

// SAFETY: There are 64 lanes. Unmasked loads and stores access exactly 64 bytes, and a masked load only the bytes of its
// mask. All intrinsics that return a mask compare each byte exactly. The tests check the masks for all bytes in all lanes.
unsafe impl Block for Avx512 {
    const LANES: usize = 64;

    #[inline(always)]
    unsafe fn load(start: *const u8) -> Self {
        // SAFETY: The caller guarantees 64 readable bytes and AVX-512.
        Self(unsafe { _mm512_loadu_si512(start.cast()) })
    }

    #[inline(always)]
    unsafe fn load_part(start: *const u8, length: usize) -> Self {
        // SAFETY: The caller guarantees AVX-512 and `length` readable bytes. The mask selects no others.
        Self(unsafe { _mm512_maskz_loadu_epi8(super::first_lanes(length), start.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut u8) {
        // SAFETY: The caller guarantees 64 writable bytes and AVX-512.
        unsafe { _mm512_storeu_si512(out.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn equal(self, byte: u8) -> u64 {
        // SAFETY: The caller guarantees AVX-512.
        unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn control(self) -> u64 {
        // SAFETY: The caller guarantees AVX-512.
        unsafe { _mm512_cmplt_epu8_mask(self.0, _mm512_set1_epi8(0x20)) }
    }

    #[inline(always)]
    unsafe fn not_plain(self) -> u64 {
        // SAFETY: The caller guarantees AVX-512. As signed numbers, bytes of 0x80 and above are below 0x20 too.
        unsafe { self.equal(b'\\') | _mm512_cmplt_epi8_mask(self.0, _mm512_set1_epi8(0x20)) }
    }

    #[inline(always)]
    unsafe fn non_ascii(self) -> u64 {
        // SAFETY: The caller guarantees AVX-512.
        unsafe { _mm512_movepi8_mask(self.0) }
    }

    #[inline(always)]
    unsafe fn continuation(self) -> u64 {
        // SAFETY: The caller guarantees AVX-512. As signed numbers, these are the bytes below -64.
        unsafe { _mm512_cmplt_epi8_mask(self.0, _mm512_set1_epi8(-64)) }
    }

    #[inline(always)]
    unsafe fn write_unescaped(self, escaping: u64, escaped: u64, out: *mut u8) -> bool {
        // SAFETY: The caller guarantees AVX-512 with VBMI2 and 64 writable bytes.
        unsafe {
            let (newlines, tabs) = (self.equal(b'n') & escaped, self.equal(b't') & escaped);
            let unchanged = self.equal(b'"') | self.equal(b'\\') | self.equal(b'/');
            if escaped & !(newlines | tabs | unchanged) != 0 {
                return false;
            }
            let bytes = _mm512_mask_blend_epi8(newlines, self.0, _mm512_set1_epi8(b'\n'.cast_signed()));
            let bytes = _mm512_mask_blend_epi8(tabs, bytes, _mm512_set1_epi8(b'\t'.cast_signed()));
            _mm512_storeu_si512(out.cast(), _mm512_maskz_compress_epi8(!escaping, bytes));
        }
        true
    }
}

/// 64 bytes in two registers, for processors with AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i, __m256i);

/// Returns the masks of both halves as one.
#[inline(always)]
fn join(low: i32, high: i32) -> u64 {
    u64::from(low.cast_unsigned()) | (u64::from(high.cast_unsigned()) << 32)
}

// SAFETY: There are 64 lanes. The two loads and stores access exactly 32 bytes each, at offsets 0 and 32. `movemask` returns
// one bit per byte of an exact comparison. The tests check the masks for all bytes in all lanes.
unsafe impl Block for Avx2 {
    const LANES: usize = 64;

    #[inline(always)]
    unsafe fn load(start: *const u8) -> Self {
        // SAFETY: The caller guarantees 64 readable bytes and AVX2.
        unsafe { Self(_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(32).cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut u8) {
        // SAFETY: The caller guarantees 64 writable bytes and AVX2.
        unsafe {
            _mm256_storeu_si256(out.cast(), self.0);
            _mm256_storeu_si256(out.add(32).cast(), self.1);
        }
    }

    #[inline(always)]
    unsafe fn equal(self, byte: u8) -> u64 {
        // SAFETY: The caller guarantees AVX2.
        unsafe {
            let needle = _mm256_set1_epi8(byte.cast_signed());
            join(
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.0, needle)),
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(self.1, needle)),
            )
        }
    }

    #[inline(always)]
    unsafe fn control(self) -> u64 {
        // SAFETY: The caller guarantees AVX2. The unsigned maximum with 0x1F is 0x1F only for bytes below 0x20.
        unsafe {
            let last = _mm256_set1_epi8(0x1F);
            join(
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(self.0, last), last)),
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(self.1, last), last)),
            )
        }
    }

    #[inline(always)]
    unsafe fn not_plain(self) -> u64 {
        // SAFETY: The caller guarantees AVX2. As signed numbers, bytes of 0x80 and above are below 0x20 too.
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
        // SAFETY: The caller guarantees AVX2.
        unsafe { join(_mm256_movemask_epi8(self.0), _mm256_movemask_epi8(self.1)) }
    }

    #[inline(always)]
    unsafe fn continuation(self) -> u64 {
        // SAFETY: The caller guarantees AVX2. As signed numbers, these are the bytes below -64.
        unsafe {
            let limit = _mm256_set1_epi8(-64);
            join(
                _mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, self.0)),
                _mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, self.1)),
            )
        }
    }
}
