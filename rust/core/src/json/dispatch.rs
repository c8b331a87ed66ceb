//! The choice of the fastest [`Block`](super::block::Block) that the processor supports.

// The functions compiled for vector instructions may only be called on processors that have these.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

/// A set of vector instructions that this processor has.
///
/// A value can only be obtained from [`Self::best`] (and, in tests, `all`), which query the processor. So a value proves that its
/// instructions can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instructions(Set);

/// The sets for which there are compiled functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Set {
    /// AVX-512 with byte masks and VBMI2 (Intel since Ice Lake, AMD since Zen 4).
    Avx512 = 1,
    /// AVX2.
    Avx2 = 2,
    /// The instructions of every processor.
    Portable = 3,
}

impl Instructions {
    /// Returns the fastest set that this processor has.
    #[must_use]
    #[inline]
    pub(crate) fn best() -> Self {
        /// The number of the detected set; 0 before detection.
        static DETECTED: AtomicU8 = AtomicU8::new(0);
        match DETECTED.load(Ordering::Relaxed) {
            1 => Self(Set::Avx512),
            2 => Self(Set::Avx2),
            3 => Self(Set::Portable),
            _ => {
                let best = Self::detect();
                DETECTED.store(best.0 as u8, Ordering::Relaxed);
                best
            }
        }
    }

    /// Returns all sets that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let best = Self::best();
        let mut all = vec![Self(Set::Portable)];
        // A processor with these AVX-512 instructions has AVX2 as well.
        all.extend((best.0 != Set::Portable).then_some(Self(Set::Avx2)));
        all.extend((best.0 == Set::Avx512).then_some(best));
        all
    }

    /// Returns which set this is.
    #[inline(always)]
    pub(crate) fn set(self) -> Set {
        self.0
    }

    /// Detects the fastest set that the processor has.
    #[cold]
    fn detect() -> Self {
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
                return Self(Set::Avx512);
            }
            if has_bits && is_x86_feature_detected!("avx2") {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Portable)
    }
}

/// Defines a function that calls a generic one with the block for a set of instructions.
///
/// `fn name(a: A) -> R = generic;` defines `fn name(instructions: Instructions, a: A) -> R`, which calls `generic::<B>(a)`
/// inside a function that is compiled for these instructions. `generic` must be `#[inline(always)]` and must only require
/// that the processor has the instructions of `B`.
macro_rules! dispatch {
    ($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $return:ty = $generic:ident;) => {
        $(#[$attribute])*
        fn $name(instructions: $crate::json::dispatch::Instructions, $($argument: $type),*) -> $return {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
            unsafe fn avx512($($argument: $type),*) -> $return {
                // SAFETY: The processor has the instructions, because this function may only be called if it has.
                unsafe { $generic::<$crate::json::block::Avx512>($($argument),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            unsafe fn avx2($($argument: $type),*) -> $return {
                // SAFETY: The processor has the instructions, because this function may only be called if it has.
                unsafe { $generic::<$crate::json::block::Avx2>($($argument),*) }
            }

            match instructions.set() {
                // SAFETY: An `Instructions` with this set exists only if the processor has every enabled feature.
                #[cfg(target_arch = "x86_64")]
                $crate::json::dispatch::Set::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: An `Instructions` with this set exists only if the processor has every enabled feature.
                #[cfg(target_arch = "x86_64")]
                $crate::json::dispatch::Set::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: The portable block needs no particular instructions.
                _ => unsafe { $generic::<$crate::json::block::Portable>($($argument),*) },
            }
        }
    };
}

pub(super) use dispatch;
