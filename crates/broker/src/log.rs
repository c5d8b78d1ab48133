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
        })
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        fs::rename(&self.path, aside)?;
        *self = Self::open(&self.path)?;
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
        if log.length + line.len() as u64 > MAX_BYTES {
            log.put_aside()?;
        }
        log.file.write_all(line)?;
        log.length += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
