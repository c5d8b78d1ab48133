//! Descriptors over a Unix socket: `SCM_RIGHTS`, for the holder that lends and the broker that is lent to.
//!
//! This is the one file of the product that may say `unsafe`. It needs to because a received descriptor is a number in
//! a control message, and only the caller of `recvmsg` knows that it is new and nobody else's. nix's own `recvmsg` is
//! not used: it refuses to look into a truncated message, and so leaks the descriptors that did fit.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::protocol::Successor;

/// As many descriptors as Linux lets travel in one message (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;

/// The size of a control message of [`MAX_DESCRIPTORS`], in words because it has to be aligned as its header is.
const CONTROL_WORDS: usize =
    (mem::size_of::<libc::cmsghdr>() + MAX_DESCRIPTORS * mem::size_of::<RawFd>()).div_ceil(8) + 1;

/// Sends bytes, and copies of descriptors with the first of them; how many of the bytes were taken.
///
/// `bytes` must not be empty when there are descriptors: on a stream they travel only with a byte. Blocks if the
/// socket does, else [`io::ErrorKind::WouldBlock`] means that neither bytes nor descriptors were sent. After a short
/// count the descriptors are on their way, and the rest of the bytes is sent without them. No SIGPIPE is raised.
pub fn send_with_fds(
    socket: &impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if bytes.is_empty() && !fds.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "descriptors need a byte to travel with",
        ));
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() {
        &[][..]
    } else {
        &rights[..]
    };
    let bytes = [IoSlice::new(bytes)];
    loop {
        let fd = socket.as_fd().as_raw_fd();
        match sendmsg::<UnixAddr>(fd, &bytes, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => (),
            sent => return Ok(sent?),
        }
    }
}

/// Receives bytes, and the descriptors that came with them, which are close-on-exec from the start.
///
/// A count of 0 is the end of the stream. Blocks if the socket does, else [`io::ErrorKind::WouldBlock`]. When
/// descriptors were lost on the way (this process may not open so many) that is an error, and those which did arrive
/// are closed: an answer with some of its descriptors missing is of no use, and the bytes are gone with it.
pub fn recv_with_fds(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut piece = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: msghdr is a C struct of numbers and pointers, and all zeros is the value that means "nothing given".
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;

    let received = loop {
        // SAFETY: the header points to `piece`, which describes `buf`, and to `control` with its true size; all three
        // are borrowed mutably or owned here and outlive the call, and the kernel keeps no pointer after it.
        let received = unsafe {
            libc::recvmsg(
                socket.as_fd().as_raw_fd(),
                &raw mut header,
                libc::MSG_CMSG_CLOEXEC,
            )
        };
        match Errno::result(received) {
            Err(Errno::EINTR) => (),
            received => break received?,
        }
    };
    let fds = received_fds(&header);
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::other("descriptors were lost: too many are open"));
    }
    Ok((received.unsigned_abs(), fds))
}

/// Takes the descriptors out of the control messages that `recvmsg` has just written. Called once for each message,
/// and only by [`recv_with_fds`]: the descriptors become owned here.
fn received_fds(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has set msg_controllen to what it wrote of the aligned control buffer, which is still alive;
    // CMSG_FIRSTHDR answers null or a whole header inside of it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: a pointer from CMSG_FIRSTHDR or CMSG_NXTHDR is null or points to a header inside of the buffer, aligned.
    while let Some(cmsg) = unsafe { message.as_ref() } {
        if cmsg.cmsg_level == libc::SOL_SOCKET && cmsg.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: arithmetic on a pointer to a header inside of the buffer; nothing is read.
            let (data, overhead) =
                unsafe { (libc::CMSG_DATA(message).cast::<RawFd>(), libc::CMSG_LEN(0)) };
            #[allow(
                clippy::unnecessary_cast,
                reason = "cmsg_len is narrower with other libcs"
            )]
            let length = (cmsg.cmsg_len as usize).saturating_sub(overhead as usize);
            for index in 0..length / mem::size_of::<RawFd>() {
                // SAFETY: cmsg_len says that these bytes were written by the kernel; the read does not ask for
                // alignment. The number was installed in this process by this very recvmsg, so that nobody else can
                // own it, and it is read once.
                fds.push(unsafe { OwnedFd::from_raw_fd(data.add(index).read_unaligned()) });
            }
        }
        // SAFETY: both pointers are to the header and the control message that were valid above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    fds
}

/// A number that somebody else owns and keeps open, as a descriptor.
pub(crate) fn borrowed<T: ?Sized>(number: RawFd, _owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the number is its owner's, who is borrowed for as long as this is used, and closes it only when dropped.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Starts a program that is no descendant of this process but a sibling of it, in a session of its own, and does not
/// wait for it: its parent is ours, and so is who reaps it.
///
/// That is what a subreaper needs to start something that is to outlive it: a child's child, which a daemon is, would
/// come back to it when its parent exits. Nothing but 0, 1, 2 and what is not close-on-exec is inherited.
///
/// It has nothing to do with descriptors and is here because to fork is unsafe.
pub(crate) fn start_apart(successor: &Successor) -> io::Result<()> {
    let zero_ended = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
    let args = successor.args.iter().cloned().map(zero_ended);
    let args = args.collect::<io::Result<Vec<CString>>>()?;
    let env = successor.env.iter();
    let env = env.map(|(name, value)| zero_ended([name.as_slice(), value].join(&b'=')));
    let env = env.collect::<io::Result<Vec<CString>>>()?;
    let Some(program) = args.first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let pointers = |strings: &[CString]| {
        let strings = strings.iter().map(|string| string.as_ptr());
        strings.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(&args), pointers(&env));
    let nothing_blocked = SigSet::empty();

    // SAFETY: without CLONE_VM this is a fork, and needs no stack. The process has one thread, so that no lock is held
    // in the child by a thread which is not there; and the child does nothing but the three calls below.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::CLONE_PARENT | libc::SIGCHLD,
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        )
    };
    if Errno::result(pid)? != 0 {
        return Ok(());
    }
    // SAFETY: in the child. The calls are async-signal-safe; the program, the arguments and the environment are
    // zero-ended strings, and lists of them that end with null, all built before the fork and alive; the set is a
    // valid one; and _exit runs nothing of ours.
    unsafe {
        libc::setsid();
        libc::sigprocmask(libc::SIG_SETMASK, nothing_blocked.as_ref(), ptr::null_mut());
        libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(127)
    }
}

/// Has SIGCHLD delivered even if this process was born with it ignored: then the kernel would reap for us, and no exit
/// status would ever arrive.
///
/// It has nothing to do with descriptors and is here because nix marks it unsafe, as all changes of handlers.
pub(crate) fn default_sigchld() -> io::Result<()> {
    // SAFETY: no handler is installed, so no code can run at a bad moment; and the old one is not used again.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}
