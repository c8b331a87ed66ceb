//! Blocks of bytes that are compared together: the innermost step of the [scanner](super::scan).
//!
//! A block answers each question with a bit mask: one bit per byte, the lowest bit for the first byte. There are three
//! implementations, for AVX-512, AVX2 and every other processor, which return the same masks.
//! [`dispatch`](super::dispatch) selects one at run time.

// Blocks are loaded from and stored to raw pointers, and use vector instructions that not every processor has.
#![allow(unsafe_code)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Bytes that must be readable after the newline that ends a text, so that a block can be loaded from any offset up to
/// that newline.
pub(crate) const PADDING: usize = 64;

/// [`Self::LANES`] consecutive bytes, and the questions that readers of JSON ask about them.
///
/// All methods are unsafe because an implementation may use instructions that not every processor has. Callers must run
/// on a processor that has them, which a value of [`Instructions`](super::dispatch::Instructions) proves.
///
/// # Safety
///
/// Unsafe code relies on each implementation for the following:
///
/// * [`Self::LANES`] is at most [`PADDING`], the size of the padding.
/// * [`Self::load`] reads only the bytes that its caller promises. [`Self::store`] and [`Self::write_unescaped`] write
///   only the bytes that their caller promises. `store` writes all of them, and `write_unescaped` writes all bytes that
///   are not in `escaping` if it returns `true`.
/// * Masks are exact: bit `i` is set if and only if byte `i` has the property, and the bits from [`Self::LANES`] on are 0.
///   The scanner stays inside its buffer because it never misses the newline after a text.
pub(crate) unsafe trait Block: Copy {
    /// The number of bytes in a block, at most 64.
    const LANES: usize;

    /// Loads the block that starts at `start`.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `start` on must be readable.
    unsafe fn load(start: *const u8) -> Self;

    /// Loads `length` bytes from `start` on, fewer than a block, and fills the rest of the block with zeros.
    ///
    /// # Safety
    ///
    /// `length` bytes from `start` on must be readable, and `length` must be at most [`Self::LANES`].
    #[inline(always)]
    unsafe fn load_part(start: *const u8, length: usize) -> Self {
        let mut block = [0; 64];
        // SAFETY: The caller guarantees that `length` bytes are readable. `length` is at most `LANES`, so they fit into
        // `block`, which also has the `LANES` bytes that `load` reads.
        unsafe {
            std::ptr::copy_nonoverlapping(start, block.as_mut_ptr(), length);
            Self::load(block.as_ptr())
        }
    }

    /// Writes the block to `out`.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `out` on must be writable.
    unsafe fn store(self, out: *mut u8);

    /// Returns the bytes that equal `byte`.
    unsafe fn equal(self, byte: u8) -> u64;

    /// Returns the bytes below 0x20.
    unsafe fn control(self) -> u64;

    /// Returns the backslashes, the bytes below 0x20 and the bytes of 0x80 and above, none of which are in a plain string.
    #[inline(always)]
    unsafe fn not_plain(self) -> u64 {
        // SAFETY: The caller guarantees that the processor has the instructions.
        unsafe { self.equal(b'\\') | self.control() | self.non_ascii() }
    }

    /// Returns the bytes of 0x80 and above.
    unsafe fn non_ascii(self) -> u64;

    /// Returns the bytes from 0x80 to 0xBF: in UTF-8, all bytes of a character but the first.
    unsafe fn continuation(self) -> u64;

    /// Writes the block to `out` without the bytes in `escaping`, and with each byte in `escaped` replaced by the character
    /// that it denotes after a backslash.
    ///
    /// Returns `false` if it cannot, and may then have written anything: if an escape takes more than one byte after
    /// the backslash or is rare, or if the processor has no instruction to remove bytes.
    ///
    /// # Safety
    ///
    /// [`Self::LANES`] bytes from `out` on must be writable.
    #[inline(always)]
    unsafe fn write_unescaped(self, escaping: u64, escaped: u64, out: *mut u8) -> bool {
        let _ = (escaping, escaped, out);
        false
    }
}

/// Returns a mask of the first `lanes` bytes of a block, at most 64.
#[inline(always)]
pub(crate) fn first_lanes(lanes: usize) -> u64 {
    if lanes >= 64 { u64::MAX } else { (1 << lanes) - 1 }
}

/// Returns the backslashes of a block that escape the byte after them, and the bytes that they escape.
///
/// `carried` is 1 if the first byte is escaped by the block before, else 0. It is set for the next block.
#[inline(always)]
pub(crate) fn escapes<B: Block>(backslashes: u64, carried: &mut u64) -> (u64, u64) {
    // A backslash that is escaped by the block before escapes nothing.
    let mut escaping = backslashes & !*carried;
    // If no two backslashes are adjacent, each escapes its neighbor. In a run of backslashes every other one is escaped.
    if escaping & (escaping << 1) != 0 {
        let mut rest = escaping;
        escaping = 0;
        while rest != 0 {
            let first = rest & rest.wrapping_neg();
            escaping |= first;
            rest &= !(first | (first << 1));
        }
    }
    let escaped = ((escaping << 1) | *carried) & first_lanes(B::LANES);
    *carried = escaping >> (B::LANES - 1);
    (escaping, escaped)
}

#[cfg(test)]
mod tests;
