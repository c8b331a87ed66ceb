//! A file with two places for a state: a new one goes to the place of the older one.
//!
//! So whatever is killed when, one of the two is whole, and the newer whole one counts. It costs one write, where a file
//! that is made anew and renamed costs several calls of the system. Nothing is forced to the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::write_all_at;
use crate::sealed;

/// Before a state: its number and its length in bytes.
const HEADER: usize = 8 + 4;

/// Bytes that are read of each place at first.
const FIRST_READ: usize = 16 << 10;

/// The form of the states of a file.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its version.
    pub version: u8,
    /// Where the second place starts, in bytes: no state is as large.
    pub second: u64,
}

/// A state that was found.
#[derive(Debug)]
pub struct Found<T> {
    /// How many were written before it, and it.
    pub number: u64,
    /// The state.
    pub state: T,
}

impl Form {
    /// The newer whole state of `file`, if there is one, and whether something else stands there that is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read<T: DeserializeOwned>(self, file: &File) -> io::Result<(Option<Found<T>>, bool)> {
        let mut newest: Option<Found<T>> = None;
        let mut is_broken = false;
        for start in [0, self.second] {
            let mut bytes = vec![0; FIRST_READ];
            let mut length = read_at(file, &mut bytes, start)?;
            let Some((header, _)) = bytes[..length].split_first_chunk::<HEADER>() else { continue };
            let (number, size) = split(*header);
            if number == 0 {
                continue;
            }
            let end = HEADER + size.min(usize::try_from(self.second).unwrap_or(0));
            if end > length {
                bytes.resize(end, 0);
                length += read_at(file, &mut bytes[length..], start + length as u64)?;
            }
            match sealed::open::<(u64, T)>(self.version, &bytes[HEADER.min(length)..end.min(length)]) {
                // The number outside is not under the seal.
                Ok((sealed, state)) if sealed == number => {
                    if newest.as_ref().is_none_or(|newest| newest.number < number) {
                        newest = Some(Found { number, state });
                    }
                }
                _ => is_broken = true,
            }
        }
        Ok((newest, is_broken))
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
                newest = newest.max(split(header).0);
            }
        }
        Ok(newest)
    }

    /// Writes the state with this number; the one before it stays.
    ///
    /// # Errors
    ///
    /// What the system says, or that the state is too large.
    pub fn write<T: Serialize>(self, file: &File, number: u64, state: &T) -> io::Result<()> {
        let sealed = sealed::seal(self.version, &(number, state));
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        if HEADER as u64 + u64::from(length) > self.second {
            return Err(io::Error::other("the state is larger than its place"));
        }
        let bytes = [&number.to_le_bytes(), &length.to_le_bytes()[..], &sealed].concat();
        write_all_at(file, &bytes, if number % 2 == 1 { 0 } else { self.second })
    }
}

fn split(header: [u8; HEADER]) -> (u64, usize) {
    let number = header[..8].try_into().map_or(0, u64::from_le_bytes);
    (number, header[8..].try_into().map_or(0, u32::from_le_bytes) as usize)
}

/// Reads until `buffer` is full or the file ends; gives how much there was.
pub fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], start + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
