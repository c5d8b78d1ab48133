//! The protocol as a property: what is encoded is decoded, and nothing that arrives makes it panic.

use clsess_holder::protocol::{
    Exit, Failed, MAX_FRAME, PIPES, Reason, Refused, Reply, Request, Start, Successor, TooLong,
    Window, decode_reply, decode_request, encode_reply, encode_request, take_frame,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn window() -> impl Strategy<Value = Window> {
    any::<[u16; 4]>().prop_map(|[rows, cols, width, height]| Window {
        rows,
        cols,
        width,
        height,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let start = (
        bytes(),
        vec(bytes(), 0..5),
        vec((bytes(), bytes()), 0..5),
        bytes(),
        any::<(u8, u32)>(),
        window(),
    );
    prop_oneof![
        start.prop_map(
            |(program, args, env, cwd, (stdio, umask), window)| Request::Start(Start {
                program,
                args,
                env,
                cwd,
                stdio,
                umask,
                window
            })
        ),
        Just(Request::Lend),
        any::<(u32, bool)>().prop_map(|(grace_ms, now)| Request::End { grace_ms, now }),
        (vec(bytes(), 0..4), vec((bytes(), bytes()), 0..4))
            .prop_map(|(args, env)| Request::Successor(Successor { args, env })),
    ]
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<u32>().prop_map(Exit::Exited),
        any::<u32>().prop_map(Exit::Signalled),
        Just(Exit::Unknown)
    ]
}

fn reason() -> impl Strategy<Value = Reason> {
    let known = [
        Reason::Unknown,
        Reason::Malformed,
        Reason::TooLong,
        Reason::NotNow,
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()),
        (4_u8..).prop_map(Reason::Other)
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<(u8, u32)>().prop_map(|(version, pid)| Reply::Hello { version, pid }),
        any::<(u32, u64)>().prop_map(|(pid, start_time)| Reply::Started { pid, start_time }),
        any::<(u32, String, String)>().prop_map(|(errno, step, message)| Reply::Failed(Failed {
            errno,
            step,
            message
        })),
        bytes().prop_map(|ends| Reply::Lent { ends }),
        exit().prop_map(Reply::Exited),
        (exit(), any::<bool>()).prop_map(|(exit, left)| Reply::Ended { exit, left }),
        (reason(), any::<u8>()).prop_map(|(reason, kind)| Reply::Refused(Refused { reason, kind })),
    ]
}

proptest! {
    #[test]
    fn a_request_comes_back(request in request(), extra in bytes()) {
        let mut buffer = encode_request(&request);
        let mut frame = take_frame(&mut buffer).unwrap().unwrap();
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(decode_request(&frame), Ok(request.clone()));
        frame.extend(extra); // what a later version may say besides
        prop_assert_eq!(decode_request(&frame), Ok(request));
    }

    #[test]
    fn a_reply_comes_back(reply in reply(), extra in bytes()) {
        let mut buffer = encode_reply(&reply);
        let mut frame = take_frame(&mut buffer).unwrap().unwrap();
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(decode_reply(&frame), Ok(reply.clone()));
        frame.extend(extra);
        prop_assert_eq!(decode_reply(&frame), Ok(reply));
    }

    #[test]
    fn what_is_cut_off_is_malformed(request in request(), reply in reply(), at in any::<prop::sample::Index>()) {
        let frame = &encode_request(&request)[4..];
        let kind = frame[0];
        let cut = at.index(frame.len());
        let kind = if cut == 0 { 0 } else { kind };
        // The size of a terminal has come later.
        let expected = match request {
            Request::Start(start) if cut + 8 == frame.len() => {
                Ok(Request::Start(Start { window: Window::default(), ..start }))
            }
            _ => Err(Refused { reason: Reason::Malformed, kind }),
        };
        prop_assert_eq!(decode_request(&frame[..cut]), expected);
        let frame = &encode_reply(&reply)[4..];
        let decoded = decode_reply(&frame[..at.index(frame.len())]);
        // The pid of a hello has come later.
        let as_expected = matches!(decoded, Err(_) | Ok(Reply::Hello { pid: 0, .. }));
        prop_assert!(as_expected);
    }

    #[test]
    fn garbage_is_an_error_or_a_value(garbage in vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&garbage);
        let _ = decode_reply(&garbage);
        let mut buffer = garbage;
        while let Ok(Some(_)) = take_frame(&mut buffer) {}
    }

    #[test]
    fn frames_come_off_a_stream_however_it_is_cut(replies in vec(reply(), 1..6), cut in 1_usize..9) {
        let stream: Vec<u8> = replies.iter().flat_map(encode_reply).collect();
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for piece in stream.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = take_frame(&mut buffer).unwrap() {
                found.push(decode_reply(&frame).unwrap());
            }
        }
        prop_assert_eq!(found, replies);
    }
}

/// The bytes themselves are frozen, not only that they come back.
#[test]
fn the_bytes_of_every_kind() {
    let start = Request::Start(Start {
        program: b"/a".to_vec(),
        args: vec![b"a".to_vec(), b"-b".to_vec()],
        env: vec![(b"K".to_vec(), b"V=".to_vec())],
        cwd: b"/".to_vec(),
        stdio: PIPES,
        umask: 0o022,
        window: Window {
            rows: 24,
            cols: 258,
            width: 1,
            height: 2,
        },
    });
    let program = b"\x00\x00\x00\x02/a";
    let args = b"\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02-b";
    let env = b"\x00\x00\x00\x01\x00\x00\x00\x01K\x00\x00\x00\x02V=";
    let the_rest = b"\x00\x00\x00\x01/\x00\x00\x00\x00\x12";
    let window = b"\x00\x18\x01\x02\x00\x01\x00\x02";
    let head = b"\x00\x00\x00\x37\x01";
    let expected = [&head[..], program, args, env, the_rest, window].concat();
    assert_eq!(
        encode_request(&start).escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(encode_request(&Request::Lend), b"\x00\x00\x00\x01\x02");
    assert_eq!(
        encode_request(&Request::End {
            grace_ms: 258,
            now: true
        }),
        b"\x00\x00\x00\x06\x03\x00\x00\x01\x02\x01"
    );
    let successor = Request::Successor(Successor {
        args: vec![b"/a".to_vec()],
        env: vec![(b"K".to_vec(), b"V".to_vec())],
    });
    assert_eq!(
        encode_request(&successor),
        b"\x00\x00\x00\x19\x04\0\0\0\x01\0\0\0\x02/a\0\0\0\x01\0\0\0\x01K\0\0\0\x01V"
    );

    let failed = Failed {
        errno: 2,
        step: "cwd".to_owned(),
        message: "m".to_owned(),
    };
    let replies: [(Reply, &[u8]); 7] = [
        (
            Reply::Hello { version: 2, pid: 7 },
            b"\x00\x00\x00\x06\x80\x02\0\0\0\x07",
        ),
        (
            Reply::Started {
                pid: 7,
                start_time: 9,
            },
            b"\x00\x00\x00\x0d\x81\0\0\0\x07\0\0\0\0\0\0\0\x09",
        ),
        (
            Reply::Failed(failed),
            b"\x00\x00\x00\x11\x82\0\0\0\x02\0\0\0\x03cwd\0\0\0\x01m",
        ),
        (
            Reply::Lent {
                ends: vec![0, 1, 2],
            },
            b"\x00\x00\x00\x08\x83\0\0\0\x03\x00\x01\x02",
        ),
        (
            Reply::Exited(Exit::Exited(3)),
            b"\x00\x00\x00\x06\x84\x00\0\0\0\x03",
        ),
        (
            Reply::Ended {
                exit: Exit::Signalled(9),
                left: true,
            },
            b"\x00\x00\x00\x07\x85\x01\0\0\0\x09\x01",
        ),
        (
            Reply::Refused(Refused {
                reason: Reason::Unknown,
                kind: 77,
            }),
            b"\x00\x00\x00\x03\x86\x00\x4d",
        ),
    ];
    for (reply, expected) in replies {
        assert_eq!(encode_reply(&reply), expected, "{reply:?}");
    }
}

/// A holder of the first version said no pid.
#[test]
fn the_hello_of_version_1() {
    let (version, pid) = (1, 0);
    assert_eq!(decode_reply(b"\x80\x01"), Ok(Reply::Hello { version, pid }));
}

#[test]
fn a_frame_without_end_is_not_waited_for() {
    let mut buffer = u32::MAX.to_be_bytes().to_vec();
    assert_eq!(take_frame(&mut buffer), Err(TooLong(u32::MAX as usize)));
    let mut buffer = (MAX_FRAME as u32).to_be_bytes().to_vec();
    assert_eq!(take_frame(&mut buffer), Ok(None));
}

#[test]
fn a_list_that_claims_to_be_long_costs_nothing() {
    let frame = [&b"\x01"[..], b"\0\0\0\x02/a", b"\xff\xff\xff\xff"].concat();
    assert_eq!(
        decode_request(&frame),
        Err(Refused {
            reason: Reason::Malformed,
            kind: 1
        })
    );
}

#[test]
fn a_secret_in_the_environment_is_not_shown() {
    let start = Start {
        program: b"/bin/agent".to_vec(),
        args: vec![b"hush".to_vec()],
        env: vec![(b"TOKEN".to_vec(), b"hush".to_vec())],
        cwd: b"/".to_vec(),
        stdio: PIPES,
        umask: 0o022,
        window: Window::default(),
    };
    let shown = format!("{:?}", Request::Start(start));
    assert!(
        shown.contains("/bin/agent") && !shown.contains("hush"),
        "{shown}"
    );
}
