//! The one thread that waits for the disk.
//!
//! Everything is written from the broker's loop, which is safe against the
//! broker's own death; being safe against the machine's needs `fdatasync`, and
//! that runs here, beside the work. Only acknowledgements that promise
//! durability wait for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

/// A way to the disk thread. Jobs are done in order. The queue is bounded by what
/// gives it work: at most one job for each request or turn that is under way.
#[derive(Clone, Debug)]
pub struct Disk {
    jobs: Sender<Job>,
}

type Done = oneshot::Sender<io::Result<()>>;

enum Job {
    Nothing(Done),
    Sync(Arc<File>, Done),
    Replace(PathBuf, Vec<u8>, Done),
}

impl Disk {
    /// Starts the thread; it ends when the last `Disk` is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start() -> io::Result<Self> {
        let (jobs, todo) = channel();
        std::thread::Builder::new()
            .name("disk".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || work(&todo))?;
        Ok(Self { jobs })
    }

    /// Makes what was written to `file` durable.
    pub fn sync(&self, file: Arc<File>) -> Promise {
        self.promise(|done| Job::Sync(file, done))
    }

    /// Replaces the file at `path` by one with these bytes, mode 0600: after a
    /// crash there is the old one or the new one.
    pub fn replace(&self, path: PathBuf, bytes: Vec<u8>) -> Promise {
        self.promise(|done| Job::Replace(path, bytes, done))
    }

    /// Is kept when everything before it has been done.
    pub fn all_done(&self) -> Promise {
        self.promise(Job::Nothing)
    }

    fn promise(&self, job: impl FnOnce(Done) -> Job) -> Promise {
        let (done, promise) = oneshot::channel();
        // A thread that is gone drops `done`, which the promise reports.
        let _ = self.jobs.send(job(done));
        Promise(promise)
    }
}

/// The end of a job. Dropping it does not take the job back.
#[derive(Debug)]
#[must_use]
pub struct Promise(oneshot::Receiver<io::Result<()>>);

impl Promise {
    /// Waits until it is done.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn kept(self) -> io::Result<()> {
        self.0
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the disk thread is gone")))
    }
}

fn work(todo: &Receiver<Job>) {
    while let Ok(job) = todo.recv() {
        let (result, done) = match job {
            Job::Nothing(done) => (Ok(()), done),
            Job::Sync(file, done) => (file.sync_data(), done),
            Job::Replace(path, bytes, done) => (replace(&path, &bytes), done),
        };
        if let Err(error) = &result {
            tracing::error!(%error, "the disk refuses");
        }
        let _ = done.send(result);
    }
}

/// Writes beside the file, syncs, renames.
///
/// # Errors
/// Of the disk; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = private_file(&beside, |options| options.truncate(true))?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    // That the name means the new file is a matter of the directory.
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_data(),
        None => Ok(()),
    }
}

/// Writes a small file of 0600 that need not survive the machine.
///
/// # Errors
/// Of the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    private_file(path, |options| options.truncate(true))?.write_all(bytes)
}

/// Opens a file for reading and writing, made with mode 0600.
///
/// # Errors
/// Of the disk.
pub fn private_file(
    path: &Path,
    more: impl FnOnce(&mut OpenOptions) -> &mut OpenOptions,
) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW);
    more(&mut options).open(path)
}
