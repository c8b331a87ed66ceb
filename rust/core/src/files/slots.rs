//! A double-buffered state file: each write replaces the older of two slots, so one slot is always intact.
//!
//! The intact slot with the higher number counts. A write takes one system call, while creating and renaming a file takes
//! several. Nothing is synced to disk.
//!
//! A state can be written with a flag, a byte that is cleared separately. It shows that something else does not match the
//! state yet.

use std::cmp::Reverse;
use std::fs::File;
use std::io;

use rustix::io::retry_on_intr;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checksummed;
use super::positional::{read_at, write_all_at};

/// The length of a slot's header: the flag, the state's number, and the length of the encoded state in bytes.
pub(crate) const HEADER: usize = 1 + 8 + 4;

/// The layout of a state file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The version of the state's serialized form.
    pub(crate) version: u8,
    /// The offset of the second slot, in bytes. Every state is smaller.
    pub(crate) second: u64,
    /// The number of bytes of each slot that are read first. Most states are shorter.
    pub(crate) first_read: usize,
}

/// The content of a state file.
#[derive(Debug, Default)]
pub(crate) struct Latest<T> {
    /// The state's number, counted from 1; 0 without an intact state.
    pub(crate) number: u64,
    /// The newest intact state.
    pub(crate) state: T,
    /// Whether its flag is set.
    pub(crate) is_flagged: bool,
    /// Whether a slot that had to be read is not intact: its writer was killed, it was damaged, or it is of another
    /// version.
    pub(crate) is_damaged: bool,
}

impl Layout {
    /// Reads the newest intact state.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(crate) fn read<T: DeserializeOwned + Default>(self, file: &File) -> io::Result<Latest<T>> {
        let mut slots = [self.slot(file, 0)?, self.slot(file, self.second)?];
        slots.sort_by_key(|slot| Reverse(slot.number));
        let [newer, older] = &slots;
        // The checksum does not cover the number in the header. If the numbers are consecutive, they are undamaged, and
        // the older state need not be decoded.
        let is_alone = older.number == 0 && newer.number <= 1;
        let is_consecutive = is_alone || older.number.wrapping_add(1) == newer.number;
        let mut latest = Latest::default();
        for slot in slots.into_iter().filter(|slot| slot.number > 0) {
            let (number, is_flagged) = (slot.number, slot.is_flagged);
            match self.decode(file, slot)? {
                Some(state) if latest.number == 0 => latest = Latest { number, state, is_flagged, ..latest },
                Some(_) => {}
                None => latest.is_damaged = true,
            }
            if latest.number > 0 && is_consecutive {
                break;
            }
        }
        Ok(latest)
    }

    /// Reads the higher of the two numbers in the headers, without decoding the states. Returns 0 if both slots are
    /// empty.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(crate) fn number(self, file: &File) -> io::Result<u64> {
        let mut newest = 0;
        for start in [0, self.second] {
            let mut header = [0; HEADER];
            if read_at(file, &mut header, start)? == HEADER {
                newest = newest.max(split(header).1);
            }
        }
        Ok(newest)
    }

    /// Writes the state with this number. The state before it stays in the other slot.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written or the state is larger than a slot.
    pub(crate) fn write<T: Serialize>(self, file: &File, number: u64, state: &T, is_flagged: bool) -> io::Result<()> {
        let encoded = checksummed::encode(self.version, &(number, state));
        let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        if HEADER as u64 + u64::from(length) > self.second {
            return Err(io::Error::other("the state is larger than its slot"));
        }
        let bytes = [&[u8::from(is_flagged)], &number.to_le_bytes()[..], &length.to_le_bytes(), &encoded].concat();
        write_all_at(file, &bytes, self.offset_of(number))
    }

    /// Clears the flag of the state with this number.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub(crate) fn clear_flag(self, file: &File, number: u64) -> io::Result<()> {
        write_all_at(file, &[0], self.offset_of(number))
    }

    /// Returns the offset of the slot for the state with this number.
    pub(crate) fn offset_of(self, number: u64) -> u64 {
        if number % 2 == 1 { 0 } else { self.second }
    }

    fn slot(self, file: &File, start: u64) -> io::Result<Slot> {
        let mut bytes = vec![0; self.first_read];
        // A regular file returns fewer bytes than requested only at its end, so one call is enough for most states.
        let length = retry_on_intr(|| rustix::io::pread(file, &mut bytes[..], start))?;
        bytes.truncate(length);
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(Slot { start, is_flagged: false, number: 0, size: 0, first: Vec::new() });
        };
        let (is_flagged, number, size) = split(*header);
        bytes.drain(..HEADER);
        Ok(Slot { start, is_flagged, number, size, first: bytes })
    }

    /// Returns the state of a slot, or `None` if the slot is not intact.
    fn decode<T: DeserializeOwned>(self, file: &File, slot: Slot) -> io::Result<Option<T>> {
        let size = slot.size.min(usize::try_from(self.second).unwrap_or(0));
        let mut bytes = slot.first;
        let read = bytes.len();
        bytes.resize(size, 0);
        if size > read {
            let more = read_at(file, &mut bytes[read..], slot.start + (HEADER + read) as u64)?;
            bytes.truncate(read + more);
        }
        // The checksum covers this copy of the number.
        let decoded = checksummed::decode::<(u64, T)>(self.version, &bytes).ok();
        Ok(decoded.filter(|(number, _)| *number == slot.number).map(|(_, state)| state))
    }
}

/// The beginning of a slot.
struct Slot {
    start: u64,
    is_flagged: bool,
    /// The state's number, or 0 if the slot is empty.
    number: u64,
    /// The length of the encoded state, in bytes.
    size: usize,
    /// The first bytes after the header.
    first: Vec<u8>,
}

/// Splits a header into the flag, the number and the length.
pub(crate) fn split(header: [u8; HEADER]) -> (bool, u64, usize) {
    let number = header[1..9].try_into().map_or(0, u64::from_le_bytes);
    let length = header[9..].try_into().map_or(0, u32::from_le_bytes);
    (header[0] != 0, number, length as usize)
}

#[cfg(test)]
mod tests;
