//! The one thread that waits for the disk.
//!
//! Everything is written from the broker's loop, which is safe against the
//! broker's own death; being safe against the machine's needs `fdatasync`, and
//! that runs here, beside the work. Only acknowledgements that promise
//! durability wait for it. (A journal that is written anew is synced on the loop: `journal/rewrite.rs`.)

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Between two tries to write what the disk has refused.
pub const AGAIN: Duration = Duration::from_secs(5);

/// A way to the disk thread. Jobs are done in order. The queue is bounded by what
/// gives it work: at most one job for each request, and three for each turn, that are under way.
#[derive(Clone, Debug)]
pub struct Disk {
    jobs: Sender<Job>,
}

/// The end of the disk thread.
#[derive(Debug)]
pub struct Ended(Receiver<()>);

impl Ended {
    /// Waits until it has done everything, which it can when nobody can give it work any more;
    /// whether it has in time.
    #[must_use]
    pub fn wait(&self, within: Duration) -> bool {
        // Nothing is ever sent.
        self.0.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

type Done = oneshot::Sender<io::Result<()>>;

enum Job {
    Nothing(Done),
    Sync(Arc<Synced>, Done),
    Replace(PathBuf, Vec<u8>, Done),
}

impl Disk {
    /// Starts the thread; it ends when the last `Disk` is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start() -> io::Result<(Self, Ended)> {
        let (jobs, todo) = channel();
        let (lives, ended) = channel();
        std::thread::Builder::new()
            .name("disk".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                work(&todo);
                drop(lives);
            })?;
        Ok((Self { jobs }, Ended(ended)))
    }

    /// Makes what was written to `file` durable.
    pub fn sync(&self, file: Arc<Synced>) -> Promise {
        file.wanted.store(true, Ordering::Release);
        self.promise(|done| Job::Sync(file, done))
    }

    /// Replaces the file at `path` by one with these bytes, mode 0600: after a
    /// crash there is the old one or the new one. What the disk refuses is tried again until
    /// it is written, replaced by something newer, or its directory is gone: who does not wait
    /// for the promise has the file as soon as there is room.
    pub fn replace(&self, path: PathBuf, bytes: Vec<u8>) -> Promise {
        self.promise(|done| Job::Replace(path, bytes, done))
    }

    /// Is kept when everything before it has been done, and broken when the disk refuses some of it.
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

/// A file that lines are added to, and how its syncs went.
///
/// The kernel tells a failed write-back once, to the sync that comes first, and may drop what it
/// could not write: a later sync succeeds all the same. So a file of which one has failed is
/// never synced again; its lines have to be written to another one.
#[derive(Debug)]
pub struct Synced {
    file: File,
    failed: AtomicBool,
    /// Whether a sync was asked for since the last one began: several that wait are one.
    wanted: AtomicBool,
}

impl Synced {
    /// A file of which no sync has failed.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self {
            file,
            failed: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
        }
    }

    /// Whether a sync has failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// From now on its lines are not safe in it.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn sync(&self) -> io::Result<()> {
        if self.failed() {
            return Err(io::Error::other("the disk has failed this file before"));
        }
        if !self.wanted.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.file.sync_data().inspect_err(|_| self.fail())
    }
}

impl Deref for Synced {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Files that the disk has refused, and what they should be: the newest of each, so two for each
/// session at most.
#[derive(Default)]
struct Refused {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// When they were tried last.
    tried: Option<Instant>,
}

impl Refused {
    fn replace(&mut self, path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
        self.files.remove(&path);
        replace(&path, &bytes).inspect_err(|_| {
            self.files.insert(path, bytes);
            self.tried.get_or_insert_with(Instant::now);
        })
    }

    /// How long until they are tried again.
    fn wait(&self) -> Option<Duration> {
        let tried = self.tried.filter(|_| !self.files.is_empty())?;
        Some((tried + AGAIN).saturating_duration_since(Instant::now()))
    }

    fn nothing(&self) -> io::Result<()> {
        match self.files.len() {
            0 => Ok(()),
            count => Err(io::Error::other(format!("{count} files cannot be written"))),
        }
    }

    fn again(&mut self) {
        self.files.retain(|path, bytes| match replace(path, bytes) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "written, at last");
                false
            }
            // Its directory is gone, and the session with it. Else: that was said before.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
        self.tried = (!self.files.is_empty()).then(Instant::now);
    }
}

fn work(todo: &Receiver<Job>) {
    let mut refused = Refused::default();
    loop {
        let job = match refused.wait() {
            Some(wait) if wait.is_zero() => Err(RecvTimeoutError::Timeout),
            Some(wait) => todo.recv_timeout(wait),
            None => todo.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let (result, done) = match job {
            Ok(Job::Nothing(done)) => {
                refused.again();
                (refused.nothing(), done)
            }
            Ok(Job::Sync(file, done)) => (file.sync(), done),
            Ok(Job::Replace(path, bytes, done)) => (refused.replace(path, bytes), done),
            Err(RecvTimeoutError::Timeout) => {
                refused.again();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
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
/// Of the disk; there is then the old file, or the new one that a crash could take away again.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = private_file(&beside, |options| options.truncate(true))?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // It may hold the last free blocks of the disk.
        let _ = fs::remove_file(&beside);
    })?;
    sync_dir(path)
}

/// Makes the name of a file durable: that it means this file is a matter of its directory.
///
/// # Errors
/// Of the disk.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_data(),
        None => Ok(()),
    }
}

/// What can be done about a disk that refuses.
#[must_use]
pub fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "it has to be writable; where it is: clsess broker status; another place: CLSESS_STATE_DIR"
        }
        _ => "see whether the disk is full: df -h; where it is: clsess broker status",
    }
}

/// Writes a small file of 0600 that need not survive the machine.
///
/// # Errors
/// Of the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = private_file(path, |options| options)?;
    // In place: a full disk has room for it, where there was one before.
    file.write_all_at(bytes, 0)?;
    file.set_len(bytes.len() as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_is_tried_again_and_the_newest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("session.json");
        let mut refused = Refused::default();
        refused.replace(file.clone(), b"old".to_vec()).unwrap();
        assert_eq!(refused.wait(), None);
        // Nothing can be written where a directory is.
        let in_the_way = dir.path().join("session.new");
        fs::create_dir(&in_the_way).unwrap();
        for bytes in [b"1", b"2"] {
            refused.replace(file.clone(), bytes.to_vec()).unwrap_err();
        }
        assert!(refused.wait().is_some_and(|wait| wait <= AGAIN));
        refused.again();
        assert!(refused.wait().is_some());
        assert_eq!(fs::read(&file).unwrap(), b"old");
        fs::remove_dir(&in_the_way).unwrap();
        refused.again();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(refused.wait(), None);

        // What has been written since is not written over.
        fs::create_dir(&in_the_way).unwrap();
        refused.replace(file.clone(), b"3".to_vec()).unwrap_err();
        fs::remove_dir(&in_the_way).unwrap();
        refused.replace(file.clone(), b"4".to_vec()).unwrap();
        refused.again();
        assert_eq!(fs::read(&file).unwrap(), b"4");

        // The session is gone.
        let gone = dir.path().join("gone/session.json");
        refused.replace(gone.clone(), b"5".to_vec()).unwrap_err();
        refused.again();
        assert_eq!(refused.wait(), None);
        assert!(!gone.exists());
    }

    #[test]
    fn nothing_is_left_of_a_file_that_could_not_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        fs::create_dir(&file).unwrap();
        replace(&file, b"x").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_small_file_is_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent");
        for text in ["first and long", "second"] {
            write_private(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
