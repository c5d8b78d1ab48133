//! The broker's log: one file with levels. Prompts, answers and secrets are never
//! above `debug`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::disk::private_file;

/// Bytes of the file at which it is put aside as `broker.log.1`; the one that was
/// there before is dropped.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Begins logging for this process: `info` and above, `debug` with one `-v`,
/// `trace` with two.
///
/// # Errors
/// When this process logs already.
pub fn begin(file: LogFile, verbose: u8, to_stderr: bool) -> io::Result<()> {
    let level = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let log = Log {
        file: Mutex::new(file),
        to_stderr,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(log)
        .try_init()
        .map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(|panic| {
        // The payload may quote anything; the place does not.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(?place, "panic");
    }));
    Ok(())
}

struct Log {
    file: Mutex<LogFile>,
    to_stderr: bool,
}

/// The open log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Lines that the disk did not take, since the last one that it took.
    lost: u64,
}

impl LogFile {
    /// Opens it, made when it is missing.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = private_file(path, |options| options.append(true))?;
        Ok(Self {
            path: path.to_owned(),
            length: file.metadata()?.len(),
            file,
            lost: 0,
        })
    }

    /// Writes a line. One that the disk does not take is counted, and the next one that it takes
    /// says how many.
    fn line(&mut self, line: &[u8]) {
        let said = match self.lost {
            0 => self.write(line),
            // What there is of a torn line ends here.
            lost => self.write(format!("\n{lost} lines are missing here\n").as_bytes()),
        };
        match said {
            Err(_) => self.lost += 1,
            Ok(()) if self.lost > 0 => {
                self.lost = 0;
                self.line(line);
            }
            Ok(()) => {}
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length + bytes.len() as u64 > MAX_BYTES {
            self.put_aside()?;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        fs::rename(&self.path, aside)?;
        let lost = self.lost;
        *self = Self::open(&self.path)?;
        self.lost = lost;
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.to_stderr {
            let _ = io::stderr().write_all(line);
        }
        let mut log = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Never an error: it would be told on stderr, for each line, and a panic where that is gone.
        log.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_disk_did_not_take_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.log");
        let mut log = LogFile::open(&path).unwrap();
        log.line(b"one\n");
        let unwritable = File::open(&path).unwrap();
        let good = std::mem::replace(&mut log.file, unwritable);
        log.line(b"two\n");
        log.line(b"three\n");
        log.file = good;
        log.line(b"four\n");
        log.line(b"five\n");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "one\n\n2 lines are missing here\nfour\nfive\n");
        assert_eq!(log.length, text.len() as u64);
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.log");
        let mut log = LogFile::open(&path).unwrap();
        log.length = MAX_BYTES;
        fs::create_dir(dir.path().join("broker.log.1")).unwrap();
        log.line(b"one\n");
        fs::remove_dir(dir.path().join("broker.log.1")).unwrap();
        log.line(b"two\n");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\n1 lines are missing here\ntwo\n");
    }
}
