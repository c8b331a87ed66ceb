//! The one way to open the small files of a state dir for writing: no link is followed, so that nothing outside is written,
//! and no pipe is waited for.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

/// Options to open such a file with.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}
