//! A holder as a real process, and what a broker would do with it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clsess_holder::descriptors::recv_with_fds;
use clsess_holder::protocol::{
    Exit, Failed, PIPES, Reply, Request, Start, VERSION, Window, decode_reply, encode_request,
    take_frame,
};
use tempfile::TempDir;

/// The longest that any event is waited for; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
pub const MS: Duration = Duration::from_millis(1);

pub struct Holder {
    process: Child,
    /// Where its socket is.
    dir: TempDir,
    /// The broker's end; none after `hang_up`.
    socket: Option<UnixStream>,
    buffer: Vec<u8>,
    fds: VecDeque<OwnedFd>,
    /// What was said before the answer that was waited for.
    earlier: VecDeque<Reply>,
}

/// The broker's ends of the agent's pipes.
pub struct Pipes {
    /// None after `close_stdin`, or when the agent had exited.
    stdin: Option<File>,
    pub stdout: BufReader<File>,
    pub stderr: File,
}

impl Holder {
    /// A holder that has said Hello.
    pub fn begin() -> Self {
        Self::begin_by(&mut Command::new(env!("CARGO_BIN_EXE_holder-under-test")))
    }

    /// The same through a shell that runs `preparation` before it becomes the holder.
    pub fn begin_after(preparation: &str) -> Self {
        let script = format!("{preparation}\nexec \"$0\"");
        Self::begin_by(Command::new("/bin/bash").args([
            "-c",
            &script,
            env!("CARGO_BIN_EXE_holder-under-test"),
        ]))
    }

    fn begin_by(command: &mut Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("holder")).unwrap();
        let ours = connect(&dir);
        command
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.env_clear().current_dir("/").spawn().unwrap();
        command.stdin(Stdio::null()); // it kept the holder's end of the socket
        let mut this = Self {
            process,
            dir,
            socket: Some(ours),
            buffer: Vec::new(),
            fds: VecDeque::new(),
            earlier: VecDeque::new(),
        };
        this.hears_hello();
        this
    }

    fn hears_hello(&mut self) {
        let (version, pid) = (VERSION, self.pid());
        assert_eq!(self.hear(), Reply::Hello { version, pid });
    }

    /// The next broker connects.
    pub fn next_broker(&mut self) {
        self.buffer.clear();
        self.fds.clear();
        self.earlier.clear();
        self.socket = Some(connect(&self.dir));
        self.hears_hello();
    }

    /// The broker before goes on listening beside the next one.
    pub fn displaced_by_next_broker(&mut self) -> UnixStream {
        let before = self.socket.take().unwrap();
        self.next_broker();
        before
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn say(&mut self, request: &Request) {
        self.say_bytes(&encode_request(request));
    }

    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.socket.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// As much as the holder takes without blocking.
    pub fn try_say_bytes(&mut self, bytes: &[u8]) {
        let socket = self.socket.as_mut().unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.write(bytes);
    }

    /// The next reply, of whatever kind.
    pub fn hear(&mut self) -> Reply {
        self.earlier.pop_front().unwrap_or_else(|| self.hear_new())
    }

    fn hear_new(&mut self) -> Reply {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer).unwrap() {
                return decode_reply(&frame).unwrap();
            }
            let mut chunk = [0; 100]; // small, so that frames come in pieces
            let (count, fds) = recv_with_fds(self.socket.as_ref().unwrap(), &mut chunk).unwrap();
            assert_ne!(count, 0, "the holder has gone");
            self.buffer.extend_from_slice(&chunk[..count]);
            self.fds.extend(fds);
        }
    }

    /// Starts an agent; its pid.
    pub fn start(&mut self, start: Start) -> u32 {
        self.started(start).0
    }

    /// Starts an agent; its pid and its start time.
    pub fn started(&mut self, start: Start) -> (u32, u64) {
        self.say(&Request::Start(start));
        match self.hear() {
            Reply::Started { pid, start_time } => (pid, start_time),
            other => panic!("not started: {other:?}"),
        }
    }

    /// Starts a shell as the agent.
    pub fn start_script(&mut self, script: &str) -> u32 {
        self.start(shell(script))
    }

    pub fn fail_to_start(&mut self, start: Start) -> Failed {
        self.say(&Request::Start(start));
        match self.hear() {
            Reply::Failed(failed) => failed,
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Asks for the descriptors: with the numbers they have in the agent.
    pub fn lend(&mut self) -> Vec<(u8, File)> {
        self.say(&Request::Lend);
        loop {
            match self.hear_new() {
                Reply::Lent { ends } => {
                    let files = self
                        .fds
                        .drain(..ends.len())
                        .map(File::from)
                        .collect::<Vec<File>>();
                    return ends.into_iter().zip(files).collect();
                }
                exited @ Reply::Exited(_) => self.earlier.push_back(exited), // the agent was quicker
                other => panic!("not lent: {other:?}"),
            }
        }
    }

    pub fn pipes(&mut self) -> Pipes {
        let mut ends = self.lend();
        let mut take = |number| Some(ends.remove(ends.iter().position(|end| end.0 == number)?).1);
        let (stdin, stdout, stderr) = (take(0), take(1), take(2));
        let files: Vec<u8> = ends.iter().map(|(number, _)| *number).collect();
        assert_eq!(files, [128, 129, 130]);
        Pipes {
            stdin,
            stdout: BufReader::new(stdout.unwrap()),
            stderr: stderr.unwrap(),
        }
    }

    pub fn end(&mut self, grace: Duration) {
        self.say(&Request::End {
            grace_ms: grace.as_millis() as u32,
            now: false,
        });
    }

    /// Waits for both last words and the holder's own exit, of an agent whose output is of no interest.
    pub fn ends_unread_with(&mut self, exit: Exit) {
        drop(self.lend());
        self.ends_with(exit);
    }

    /// Waits for both last words and the holder's own exit.
    pub fn ends_with(&mut self, exit: Exit) {
        assert_eq!(self.hear(), Reply::Exited(exit));
        assert_eq!(self.hear(), Reply::Ended { exit, left: false });
        self.exits();
    }

    /// Waits for the holder's own exit, which is one without an error.
    pub fn exits(&mut self) {
        let mut status = None;
        until("the holder's exit", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0));
    }

    pub fn hang_up(&mut self) {
        self.socket = None;
    }

    /// Starts the script as an agent, lets it finish, and returns what it printed.
    pub fn output_of(&mut self, start: Start) -> String {
        self.start(start);
        let mut pipes = self.pipes();
        let mut text = String::new();
        pipes.stdout.read_to_string(&mut text).unwrap();
        text
    }
}

/// A test that fails must not leave processes behind.
impl Drop for Holder {
    fn drop(&mut self) {
        let socket = self.socket.take();
        let socket = socket.or_else(|| UnixStream::connect(self.dir.path().join("holder")).ok());
        if let Some(mut socket) = socket {
            let _ = socket.write_all(&encode_request(&Request::End {
                grace_ms: 0,
                now: true,
            }));
        }
        let _ = self.process.wait();
    }
}

fn connect(dir: &TempDir) -> UnixStream {
    let socket = UnixStream::connect(dir.path().join("holder")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Pipes {
    pub fn write(&mut self, text: &str) {
        self.stdin
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A line that is a pid.
    pub fn pid(&mut self) -> u32 {
        self.line().parse().unwrap()
    }
}

pub fn shell(script: &str) -> Start {
    program("/bin/bash", &["bash", "-c", script])
}

pub fn program(path: &str, args: &[&str]) -> Start {
    Start {
        program: path.into(),
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        cwd: b"/".to_vec(),
        stdio: PIPES,
        umask: 0o027,
        window: Window::default(),
    }
}

/// Waits until something that raises no event of its own is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(2 * MS);
    }
}

/// A field of `/proc/PID/stat` by the number in its manual; none when there is no such process.
pub fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(number - 3).map(str::to_owned)
}

pub fn exists(pid: u32) -> bool {
    stat_field(pid, 3).is_some()
}

pub fn parent(pid: u32) -> Option<u32> {
    stat_field(pid, 4)?.parse().ok()
}

/// A line of `/proc/PID/status`.
pub fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim_start_matches(':').trim().to_owned()
}
