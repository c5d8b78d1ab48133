//! Descriptors over a socket, from both of its ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use clsess_holder::descriptors::{recv_with_fds, send_with_fds};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn receive(socket: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buf = [0; 100];
    let (count, fds) = recv_with_fds(socket, &mut buf).unwrap();
    (buf[..count].to_vec(), fds)
}

#[test]
fn descriptors_arrive_in_their_order_and_close_on_exec() {
    let (ours, theirs) = pair();
    let (read, write) = io::pipe().unwrap();
    assert_eq!(
        send_with_fds(&ours, b"two", &[read.as_fd(), write.as_fd()]).unwrap(),
        3
    );
    drop((read, write));
    let (bytes, fds) = receive(&theirs);
    assert_eq!(bytes, b"two");
    for fd in &fds {
        let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }
    let [read, write]: [OwnedFd; 2] = fds.try_into().unwrap();
    File::from(write).write_all(b"through").unwrap();
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

/// What the module of the protocol says about several frames in one read.
#[test]
fn a_read_ends_behind_the_bytes_that_have_descriptors() {
    let (ours, theirs) = pair();
    let (end, _other) = io::pipe().unwrap();
    send_with_fds(&ours, b"before ", &[]).unwrap();
    send_with_fds(&ours, b"with", &[end.as_fd()]).unwrap();
    send_with_fds(&ours, b"after", &[]).unwrap();
    send_with_fds(&ours, b" and with", &[end.as_fd()]).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (bytes, fds) = receive(&theirs);
        seen.extend_from_slice(&bytes);
        assert_eq!(fds.len(), 1);
        assert!(seen.ends_with(b"with"), "{}", seen.escape_ascii());
    }
}

#[test]
fn a_socket_that_does_not_block_says_so() {
    let (ours, theirs) = pair();
    ours.set_nonblocking(true).unwrap();
    assert_eq!(
        recv_with_fds(&ours, &mut [0; 10]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let full = loop {
        if let Err(error) = send_with_fds(&ours, &[0; 4096], &[]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    drop(theirs);
    assert_eq!(
        send_with_fds(&ours, b"x", &[]).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn the_end_of_the_stream_is_zero() {
    let (ours, theirs) = pair();
    drop(ours);
    let (bytes, fds) = receive(&theirs);
    assert!(bytes.is_empty() && fds.is_empty());
}

#[test]
fn descriptors_do_not_travel_without_a_byte() {
    let (ours, _theirs) = pair();
    assert_eq!(
        send_with_fds(&ours, b"", &[ours.as_fd()])
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn as_many_as_linux_lets_travel_fit() {
    let (ours, theirs) = pair();
    send_with_fds(&ours, b"x", &[ours.as_fd(); 253]).unwrap();
    assert_eq!(receive(&theirs).1.len(), 253);
}

/// In a process of its own, because the limit holds for all of it.
#[test]
fn lost_descriptors_are_an_error_and_none_leaks() {
    let this = std::env::current_exe().unwrap();
    let alone = [
        "--exact",
        "--ignored",
        "alone_lost_descriptors",
        "--test-threads=1",
    ];
    let output = std::process::Command::new(this)
        .args(alone)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
#[ignore = "the body of lost_descriptors_are_an_error_and_none_leaks"]
fn alone_lost_descriptors() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (ours, theirs) = pair();
    send_with_fds(&ours, b"x", &[ours.as_fd(); 20]).unwrap();
    let before = open();
    let (old, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, before as u64 + 5, hard).unwrap();
    let error = recv_with_fds(&theirs, &mut [0; 10]).unwrap_err();
    setrlimit(Resource::RLIMIT_NOFILE, old, hard).unwrap();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert_eq!(open(), before);
}
