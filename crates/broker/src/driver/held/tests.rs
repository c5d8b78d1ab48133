//! Holders of other versions, played from what they said, with real descriptors.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;

use clsess_holder::descriptors::send_with_fds;
use clsess_holder::protocol::{
    Exit, INBOX, MASTER, NOTES, OUTBOX, PIPE_READ, PIPE_WRITE, PIPES, TERMINAL, Window,
};

use super::*;

/// What one holder has said, and what a broker is to know then.
#[derive(Clone, Copy)]
struct Recorded {
    /// See the files.
    recording: &'static str,
    holder: u32,
    agent: Process,
    stdio: u8,
    window: Window,
    /// The numbers of its descriptors.
    ends: &'static [u8],
    /// How its agent ended.
    exit: Exit,
}

const FILES: &[u8] = &[0, 1, 2, OUTBOX, INBOX, NOTES];

const VERSION_2: Recorded = Recorded {
    recording: include_str!("holder-2.txt"),
    holder: 0x5026,
    agent: Process {
        pid: 0x5027,
        start_time: 0x002d_d0b2,
    },
    stdio: PIPES,
    window: NO_WINDOW,
    ends: FILES,
    exit: Exit::Signalled(15),
};

const VERSION_3: Recorded = Recorded {
    recording: include_str!("holder-3.txt"),
    holder: 0x3c5b,
    agent: Process {
        pid: 0x3c5c,
        start_time: 0x005b_f943,
    },
    ..VERSION_2
};

/// With a terminal, which is hung up in the end.
const TERMINAL_3: Recorded = Recorded {
    recording: VERSION_3.recording,
    holder: 0x3c5d,
    agent: Process {
        pid: 0x3c5e,
        start_time: 0x005b_f9a8,
    },
    stdio: TERMINAL,
    window: Window {
        rows: 24,
        cols: 80,
        width: 640,
        height: 384,
    },
    ends: &[MASTER, PIPE_READ, PIPE_WRITE, INBOX, NOTES],
    exit: Exit::Signalled(1),
};

const NO_WINDOW: Window = Window {
    rows: 0,
    cols: 0,
    width: 0,
    height: 0,
};

/// A line of a recording.
#[derive(Clone, Debug)]
enum Step {
    /// The holder says this; with it go descriptors of files, each of which holds its number.
    Says(Vec<u8>, Vec<u8>),
    /// It hears this, or what a later version has added behind it.
    Hears(Vec<u8>),
}

/// The steps of a scene: `start` or `find`.
fn scene(recorded: &str, name: &str) -> Vec<Step> {
    let heading = format!("# {name}: ");
    let lines = recorded
        .lines()
        .skip_while(|line| !line.starts_with(&heading));
    let lines = lines.skip(1).take_while(|line| !line.starts_with('#'));
    let steps: Vec<Step> = lines.map(step).collect();
    assert!(!steps.is_empty(), "{name}");
    steps
}

fn step(line: &str) -> Step {
    let mut words = line.split(' ');
    let (who, bytes) = (words.next().unwrap(), words.next().unwrap());
    let digits = bytes
        .as_bytes()
        .chunks(2)
        .map(|it| std::str::from_utf8(it).unwrap());
    let frame: Vec<u8> = digits
        .map(|it| u8::from_str_radix(it, 16).unwrap())
        .collect();
    match who {
        "<" => {
            let count: usize = words.next().map_or(0, |count| count.parse().unwrap());
            let ends = frame[frame.len() - count..].to_vec();
            Step::Says(frame, ends)
        }
        ">" => Step::Hears(frame),
        _ => panic!("{line}"),
    }
}

/// Plays a holder.
fn play(mut socket: Socket, steps: Vec<Step>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for step in steps {
            match step {
                Step::Says(frame, ends) => {
                    let files: Vec<File> = ends.iter().map(|end| file(*end)).collect();
                    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                    let sent = send_with_fds(&socket, &frame, &files).unwrap();
                    assert_eq!(sent, frame.len());
                }
                Step::Hears(frame) => {
                    let mut length = [0; 4];
                    socket.read_exact(&mut length).unwrap();
                    let mut heard = vec![0; u32::from_be_bytes(length) as usize];
                    socket.read_exact(&mut heard).unwrap();
                    assert!(
                        heard.starts_with(&frame[4..]),
                        "{heard:?} instead of {frame:?}"
                    );
                }
            }
        }
    })
}

/// A file that tells which one it is.
fn file(number: u8) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[number]).unwrap();
    file
}

fn number_in(descriptor: OwnedFd) -> u8 {
    let mut byte = [0];
    std::os::unix::fs::FileExt::read_exact_at(&File::from(descriptor), &mut byte, 0).unwrap();
    byte[0]
}

fn each_is_itself(mut lent: Lent, ends: &[u8]) {
    for number in ends {
        assert_eq!(number_in(lent.take(*number).unwrap()), *number);
        assert!(lent.take(*number).is_err());
    }
}

/// As it was recorded.
fn successor() -> Successor {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Successor {
        args: ["/opt/clsess", "broker", "start", "--again"]
            .map(bytes)
            .to_vec(),
        env: vec![(bytes("CLSESS_STATE_DIR"), bytes("/state"))],
    }
}

/// As it was recorded.
fn start(recorded: Recorded) -> Start {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Start {
        program: bytes("/bin/sh"),
        args: ["sh", "-c", "read -r line; exit 7"].map(bytes).to_vec(),
        env: vec![
            (bytes("PATH"), bytes("/usr/bin:/bin")),
            (bytes("EMPTY"), Vec::new()),
        ],
        cwd: bytes("/"),
        stdio: recorded.stdio,
        umask: 0o022,
        window: recorded.window,
    }
}

/// Finds a holder that says and hears these.
async fn is_found(recorded: Recorded, steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let holder = thread::spawn(move || play(listener.accept().unwrap().0, steps).join().unwrap());
    let found = Held::find(dir.path(), &successor()).await.unwrap();
    let (mut held, lent) = found.unwrap();
    let known = (recorded.agent, recorded.holder);
    assert_eq!((held.agent, held.holder().pid), known);
    each_is_itself(lent, recorded.ends);
    held.end(2000, false);
    let exit = recorded.exit;
    assert_eq!(held.next().await.unwrap(), Some(Reply::Exited(exit)));
    let ended = Reply::Ended { exit, left: false };
    assert_eq!(held.next().await.unwrap(), Some(ended));
    assert_eq!(held.next().await.unwrap(), None);
    holder.join().unwrap();
}

/// Has a holder that says and hears these start an agent.
async fn starts(recorded: Recorded, steps: Vec<Step>) {
    let (ours, theirs) = Socket::pair().unwrap();
    let holder = play(theirs, steps);
    let mut held = Held::new(ours, Process::default()).unwrap();
    let lent = held.begin(start(recorded), &successor()).await.unwrap();
    let known = (recorded.agent, recorded.holder);
    assert_eq!((held.agent, held.holder().pid), known);
    each_is_itself(lent, recorded.ends);
    holder.join().unwrap();
}

/// As it was recorded, where the scenes are called so.
fn scenes(recorded: Recorded) -> [Vec<Step>; 2] {
    let names = match recorded.stdio {
        TERMINAL => ["start-terminal", "find-terminal"],
        _ => ["start", "find"],
    };
    names.map(|name| scene(recorded.recording, name))
}

#[tokio::test]
async fn the_holders_of_other_versions_are_understood() {
    for recorded in [VERSION_2, VERSION_3, TERMINAL_3] {
        let [start, find] = scenes(recorded);
        starts(recorded, start).await;
        is_found(recorded, find).await;
    }
}

/// What a holder of a later version may say: more in each frame, more descriptors, and frames of
/// kinds that nobody knows.
fn later(steps: Vec<Step>) -> Vec<Step> {
    let news = || Step::Says(vec![0, 0, 0, 5, 200, 1, 2, 3, 4], Vec::new());
    let mut all = vec![];
    for step in steps {
        let Step::Says(mut frame, mut ends) = step else {
            all.push(step);
            continue;
        };
        if frame[4] == 128 {
            frame[5] += 1; // its version
        }
        if !ends.is_empty() {
            ends.insert(3, 140);
            let count = u8::try_from(ends.len()).unwrap();
            frame = vec![0, 0, 0, 5 + count, 131, 0, 0, 0, count];
            frame.extend(&ends);
        }
        frame.extend([7; 9]);
        frame[3] += 9;
        all.extend([news(), Step::Says(frame, ends), news()]);
    }
    all
}

#[tokio::test]
async fn so_is_one_of_a_later_version() {
    for recorded in [VERSION_2, VERSION_3, TERMINAL_3] {
        let [start, find] = scenes(recorded);
        starts(recorded, later(start)).await;
        is_found(recorded, later(find)).await;
    }
}
