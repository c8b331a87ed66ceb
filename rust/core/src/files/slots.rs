//! A file with two places for a state: a new one goes to the place of the older one.
//!
//! So whatever is killed when, one of the two is whole, and the newer whole one counts. It costs one write, where a file
//! that is made anew and renamed costs several calls of the system. Nothing is forced to the disk.
//!
//! A state may be written with a note, a byte that is taken back alone: that something else does not fit the state yet.

use std::cmp::Reverse;
use std::fs::File;
use std::io;

use rustix::io::retry_on_intr;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checksummed;
use super::positional::{read_at, write_all_at};

/// Before a state: whether there is a note, the state's number, and its length in bytes.
pub(crate) const HEADER: usize = 1 + 8 + 4;

/// The form of the states of a file.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its version.
    pub version: u8,
    /// Where the second place starts, in bytes: no state is as large.
    pub second: u64,
    /// Bytes that are read of each place at first: most states are shorter.
    pub first_read: usize,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Found<T> {
    /// How many states were written before this one, and it; 0 where there is none.
    pub number: u64,
    /// The newer whole state.
    pub state: T,
    /// Whether its note was not taken back.
    pub has_note: bool,
    /// Whether a place that had to be looked at holds something else: it was being written, or harmed, or is of another
    /// version.
    pub is_broken: bool,
}

impl Form {
    /// The newer whole state of `file`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read<T: DeserializeOwned + Default>(self, file: &File) -> io::Result<Found<T>> {
        let mut places = [self.place(file, 0)?, self.place(file, self.second)?];
        places.sort_by_key(|place| Reverse(place.number));
        let [newer, older] = &places;
        // Of the older one it matters only that it is there, while its number is the one before. Then the numbers, which
        // are outside the seals, are as they were written.
        let is_alone = older.number == 0 && newer.number <= 1;
        let follows = is_alone || older.number.wrapping_add(1) == newer.number;
        let mut found = Found::default();
        for place in places.into_iter().filter(|place| place.number > 0) {
            let (number, has_note) = (place.number, place.has_note);
            match self.open(file, place)? {
                Some(state) if found.number == 0 => found = Found { number, state, has_note, ..found },
                Some(_) => {}
                None => found.is_broken = true,
            }
            if found.number > 0 && follows {
                break;
            }
        }
        Ok(found)
    }

    /// The number that the newer of the two places says it has; 0 where there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn number(self, file: &File) -> io::Result<u64> {
        let mut newest = 0;
        for start in [0, self.second] {
            let mut header = [0; HEADER];
            if read_at(file, &mut header, start)? == HEADER {
                newest = newest.max(split(header).1);
            }
        }
        Ok(newest)
    }

    /// Writes the state with this number, with or without a note; the one before it stays.
    ///
    /// # Errors
    ///
    /// What the system says, or that the state is too large.
    pub fn write<T: Serialize>(self, file: &File, number: u64, state: &T, has_note: bool) -> io::Result<()> {
        let sealed = checksummed::seal(self.version, &(number, state));
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        if HEADER as u64 + u64::from(length) > self.second {
            return Err(io::Error::other("the state is larger than its place"));
        }
        let bytes = [&[u8::from(has_note)], &number.to_le_bytes()[..], &length.to_le_bytes(), &sealed].concat();
        write_all_at(file, &bytes, self.place_of(number))
    }

    /// Takes back the note of the state with this number.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn take_back_note(self, file: &File, number: u64) -> io::Result<()> {
        write_all_at(file, &[0], self.place_of(number))
    }

    /// Where the state with this number goes.
    #[must_use]
    pub fn place_of(self, number: u64) -> u64 {
        if number % 2 == 1 { 0 } else { self.second }
    }

    fn place(self, file: &File, start: u64) -> io::Result<Place> {
        let mut bytes = vec![0; self.first_read];
        // Of a regular file less than was wanted is all that is left, and most states are less: no second call asks.
        let length = retry_on_intr(|| rustix::io::pread(file, &mut bytes[..], start))?;
        bytes.truncate(length);
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(Place { start, has_note: false, number: 0, size: 0, first: Vec::new() });
        };
        let (has_note, number, size) = split(*header);
        bytes.drain(..HEADER);
        Ok(Place { start, has_note, number, size, first: bytes })
    }

    /// The state of a place, if it is whole.
    fn open<T: DeserializeOwned>(self, file: &File, place: Place) -> io::Result<Option<T>> {
        let size = place.size.min(usize::try_from(self.second).unwrap_or(0));
        let mut bytes = place.first;
        let read = bytes.len();
        bytes.resize(size, 0);
        if size > read {
            let more = read_at(file, &mut bytes[read..], place.start + (HEADER + read) as u64)?;
            bytes.truncate(read + more);
        }
        // The number outside is not under the seal.
        let opened = checksummed::open::<(u64, T)>(self.version, &bytes).ok();
        Ok(opened.filter(|(number, _)| *number == place.number).map(|(_, state)| state))
    }
}

/// One of the two places, as far as it was read.
struct Place {
    start: u64,
    has_note: bool,
    /// The state's number; 0 where there is none.
    number: u64,
    /// The length of the sealed state, in bytes.
    size: usize,
    /// The first bytes behind the header.
    first: Vec<u8>,
}

/// Whether there is a note, the number and the length, of a header.
pub(crate) fn split(header: [u8; HEADER]) -> (bool, u64, usize) {
    let number = header[1..9].try_into().map_or(0, u64::from_le_bytes);
    let length = header[9..].try_into().map_or(0, u32::from_le_bytes);
    (header[0] != 0, number, length as usize)
}

#[cfg(test)]
mod tests;
