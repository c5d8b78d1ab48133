//! The files in memory that a holder keeps: how far they were read and written, and giving back
//! what is done with. They only grow; what is given back reads as zeros and holds no memory.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// The file's own offset, which whoever has the file shares.
///
/// # Errors
/// Never in practice.
pub fn offset(file: &File) -> io::Result<u64> {
    let mut file = file;
    file.stream_position()
}

/// Gives back what is before `end`; of the page in which that is, the kernel makes zeros.
pub fn give_back(file: &File, end: u64) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let length = i64::try_from(end).unwrap_or(i64::MAX);
    if length == 0 {
        return;
    }
    if let Err(errno) = fallocate(file, flags, 0, length) {
        tracing::warn!(%errno, "memory cannot be given back");
    }
}

/// Where what was not given back begins, or a page earlier, in a file of `end` bytes.
///
/// # Errors
/// Of the file.
pub fn data_begins(file: &File, end: u64) -> io::Result<u64> {
    // By a description of its own: the file's offset is not ours to move.
    let own = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let begins = match lseek(&own, 0, Whence::SeekData) {
        Ok(at) => u64::try_from(at).unwrap_or(end),
        // There is none.
        Err(nix::errno::Errno::ENXIO) => return Ok(end),
        Err(errno) => return Err(errno.into()),
    };
    Ok(begins)
}
