//! Holders of other versions, played from what they said, with real descriptors.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;

use clsess_holder::descriptors::send_with_fds;
use clsess_holder::protocol::{Exit, INBOX, NOTES, OUTBOX, PIPES, Window};

use super::*;

/// See the file.
const VERSION_2: &str = include_str!("holder-2.txt");

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

fn each_is_itself(mut lent: Lent) {
    for number in [0, 1, 2, OUTBOX, INBOX, NOTES] {
        assert_eq!(number_in(lent.take(number).unwrap()), number);
        assert!(lent.take(number).is_err());
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
fn start() -> Start {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Start {
        program: bytes("/bin/sh"),
        args: ["sh", "-c", "read -r line; exit 7"].map(bytes).to_vec(),
        env: vec![
            (bytes("PATH"), bytes("/usr/bin:/bin")),
            (bytes("EMPTY"), Vec::new()),
        ],
        cwd: bytes("/"),
        stdio: PIPES,
        umask: 0o022,
        window: Window::default(),
    }
}

const AGENT: Process = Process {
    pid: 0x5027,
    start_time: 0x002d_d0b2,
};

/// Finds a holder that says and hears these.
async fn is_found(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let holder = thread::spawn(move || play(listener.accept().unwrap().0, steps).join().unwrap());
    let found = Held::find(dir.path(), &successor()).await.unwrap();
    let (mut held, lent) = found.unwrap();
    assert_eq!((held.agent, held.holder().pid), (AGENT, 0x5026));
    each_is_itself(lent);
    held.end(2000, false);
    let exit = Exit::Signalled(15);
    assert_eq!(held.next().await.unwrap(), Some(Reply::Exited(exit)));
    let ended = Reply::Ended { exit, left: false };
    assert_eq!(held.next().await.unwrap(), Some(ended));
    assert_eq!(held.next().await.unwrap(), None);
    holder.join().unwrap();
}

/// Has a holder that says and hears these start an agent.
async fn starts(steps: Vec<Step>) {
    let (ours, theirs) = Socket::pair().unwrap();
    let holder = play(theirs, steps);
    let mut held = Held::new(ours, Process::default()).unwrap();
    let lent = held.begin(start(), &successor()).await.unwrap();
    assert_eq!((held.agent, held.holder().pid), (AGENT, 0x5026));
    each_is_itself(lent);
    holder.join().unwrap();
}

#[tokio::test]
async fn the_holder_of_version_2_is_understood() {
    starts(scene(VERSION_2, "start")).await;
    is_found(scene(VERSION_2, "find")).await;
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
            frame[5] = 3; // its version
        }
        if !ends.is_empty() {
            ends.insert(3, 131);
            let mut body = vec![131, 0, 0, 0, 7];
            body.extend(&ends);
            frame = [vec![0, 0, 0, 12], body].concat();
        }
        frame.extend([7; 9]);
        frame[3] += 9;
        all.extend([news(), Step::Says(frame, ends), news()]);
    }
    all
}

#[tokio::test]
async fn so_is_one_of_a_later_version() {
    starts(later(scene(VERSION_2, "start"))).await;
    is_found(later(scene(VERSION_2, "find"))).await;
}
