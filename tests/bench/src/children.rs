//! Processes of this program: each is ended when its owner is dropped, and all of them when the
//! run is to end, so that nobody waits for an answer that will not come.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than anything that is measured takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Those that run now.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// Counted whenever something is started or has ended.
static PROGRESS: AtomicU64 = AtomicU64::new(0);
/// The exit code that was asked for by a signal, or 0.
static ENDING: AtomicU8 = AtomicU8::new(0);

/// A child that does not outlive this value.
#[derive(Debug)]
pub struct Owned(Child);

impl Owned {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        check()?;
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command
            .spawn()
            .with_context(|| format!("{}", command.get_program().display()))?;
        running.push(child.id());
        PROGRESS.fetch_add(1, Ordering::Relaxed);
        Ok(Self(child))
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end; for one that has closed its output.
    pub fn wait(mut self) -> Result<std::process::ExitStatus> {
        self.forget();
        Ok(self.0.wait()?)
    }

    /// Closes its input and waits a while for its end, then makes it.
    pub fn end(mut self, grace: Duration) {
        drop(self.0.stdin.take());
        let until = Instant::now() + grace;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn forget(&self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|pid| *pid != self.0.id());
        PROGRESS.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.forget();
        // Nothing of it is left to be told when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end; the milliseconds from its start to its exit, and its stdout.
///
/// # Errors
/// When it does not exit 0.
pub fn timed(command: &mut Command) -> Result<(f64, Vec<u8>)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut said = Vec::with_capacity(64 * 1024);
    let start = Instant::now();
    let mut owned = Owned::spawn(command)?;
    if let Some(stdout) = &mut owned.child().stdout {
        stdout.read_to_end(&mut said)?;
    }
    let status = owned.wait()?;
    let took = start.elapsed();
    check()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok((ms(took), said))
}

/// Runs a command to its end; when its first byte came, in Unix time in ms, and its stdout.
///
/// # Errors
/// When it does not exit 0, or says nothing.
pub fn first(command: &mut Command) -> Result<(f64, Vec<u8>)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut owned = Owned::spawn(command)?;
    let stdout = owned.child().stdout.as_mut().context("no stdout")?;
    let mut said = vec![0; 64 * 1024];
    let length = stdout.read(&mut said)?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
    said.truncate(length);
    stdout.read_to_end(&mut said)?;
    let status = owned.wait()?;
    check()?;
    ensure!(status.success() && length > 0, "{command:?}: {status}");
    Ok((ms(at), said))
}

/// Runs a command to its end; its stdout.
///
/// # Errors
/// When it does not exit 0.
pub fn run(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(timed(command)?.1)?)
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// An error when the run is to end.
///
/// # Errors
/// That one.
pub fn check() -> Result<()> {
    match exit_code() {
        0 => Ok(()),
        code => bail!("ended (exit code {code})"),
    }
}

/// The exit code that was asked for, or 0.
pub fn exit_code() -> u8 {
    ENDING.load(Ordering::Relaxed)
}

/// Waits without doing anything.
///
/// # Errors
/// When the run is to end.
pub fn pause(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        check()?;
        // Idle time is progress too.
        PROGRESS.fetch_add(1, Ordering::Relaxed);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(200)));
    }
}

/// From now on a signal, or a child that says nothing for a minute, ends all children; whoever
/// waits for one gets an error, and what was started is taken down on the way out.
pub fn guard() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        let code = runtime.block_on(watch()).unwrap_or(1);
        ENDING.store(code, Ordering::Relaxed);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in running.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
            // It may have ended just now; nobody has reaped it.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    });
    Ok(())
}

async fn watch() -> std::io::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let before = PROGRESS.load(Ordering::Relaxed);
        tokio::select! {
            _ = interrupt.recv() => return Ok(130),
            _ = terminate.recv() => return Ok(143),
            _ = hangup.recv() => return Ok(129),
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if PROGRESS.load(Ordering::Relaxed) == before {
            eprintln!("bench: nothing has happened for {PATIENCE:?}");
            return Ok(1);
        }
    }
}
