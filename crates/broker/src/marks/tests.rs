//! What the marks mean, however the bytes are cut.

use clsess_claude::turn::{Happening, Outcome};
use uuid::Uuid;

use super::line::{Clears, Line};
use super::prompt::{Why, carried, typed};
use super::scan::{MAX_MARK, Mark, Piece, Scanner, read};
use super::text::Plain;
use super::tracker::Tracker;

const WIRE: Uuid = Uuid::from_u128(1);

/// What came of it, in a form that does not depend on how texts were cut.
fn heard(tracker: &mut Tracker, pieces: &[&[u8]]) -> Vec<String> {
    let mut scanner = Scanner::default();
    let mut told: Vec<String> = Vec::new();
    for piece in pieces {
        scanner.feed(piece);
        while let Some(piece) = scanner.next() {
            let mut out = Vec::new();
            tracker.piece(piece, &mut out);
            out.into_iter().for_each(|it| tell(it, &mut told));
        }
    }
    told
}

fn tell(happening: Happening, told: &mut Vec<String>) {
    let whose = |asked: Option<Uuid>| if asked.is_some() { "ours" } else { "theirs" };
    let text = match happening {
        Happening::Text { asked, delta } => {
            let begins = format!("{} says ", whose(asked));
            if let Some(last) = told.last_mut().filter(|last| last.starts_with(&begins)) {
                last.push_str(&delta);
                return;
            }
            begins + &delta
        }
        Happening::TurnEnded { asked, end } => {
            let why = end.error.as_ref().map_or("", |error| error.text.as_str());
            let whose = whose(asked);
            format!("{whose} {:?} {why}: {}", end.outcome, end.answer)
        }
        Happening::TurnStarted { asked } => format!("{} begins", whose(asked)),
        Happening::Ready(_) => "ready".to_owned(),
        Happening::Idle => "idle".to_owned(),
        Happening::Accepted { .. } | Happening::Begun { .. } | Happening::Running => return,
        other => panic!("{other:?}"),
    };
    told.push(text);
}

const FIRST: &[u8] = b"\x1b]133;D;0\x07\x1b]133;A;aid=7\x07$ \x1b]133;B;aid=7\x1b\\";
const TURN: &[u8] = b"\x1b[200~echo\r\n\x1b[?2004l\r\x1b]133;C;aid=7\x07\x1b[31mh\xc3\xa4\x1b[m\r\r\nx\
    \x1b]133;D;9\x07\x1b]0;a\x1b\\\r\n\xff\x1b]133;D;3;aid=7\x07\x1b]133;A;aid=7\x07$ \x1b]133;B;aid=7\x07";

fn told() -> Vec<String> {
    let text = "hä\r\nx\n\u{fffd}";
    ["ready", "ours begins"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            format!("ours says {text}"),
            format!("ours Failed exit status 3: {text}"),
            "idle".to_owned(),
        ])
        .collect()
}

#[test]
fn a_turn_is_the_same_at_every_split() {
    for at in 0..=TURN.len() {
        for second in [at, (at + 1).min(TURN.len()), TURN.len()] {
            let mut tracker = Tracker::default();
            let mut all = heard(&mut tracker, &[FIRST]);
            tracker.begin(WIRE);
            let pieces = [&TURN[..at], &TURN[at..second], &TURN[second..]];
            all.extend(heard(&mut tracker, &pieces));
            assert_eq!(all, told(), "{at} {second}");
            assert_eq!(tracker.prompts(), (2, true));
        }
    }
    let bytes: Vec<&[u8]> = TURN.chunks(1).collect();
    let mut tracker = Tracker::default();
    let mut all = heard(&mut tracker, &FIRST.chunks(1).collect::<Vec<_>>());
    tracker.begin(WIRE);
    all.extend(heard(&mut tracker, &bytes));
    assert_eq!(all, told());
}

/// Bytes of all kinds, cut anywhere: the same pieces and texts come out, and nothing is lost.
#[test]
fn any_bytes_are_the_same_at_any_split() {
    const WORDS: [&[u8]; 18] = [
        b"\x1b]133;",
        b"A",
        b"D;1",
        b"\x07",
        b"\x1b\\",
        b"\x1b",
        b"]",
        b"\r",
        b"\n",
        b"\xc3",
        b"\xa4",
        b"x",
        b"\x1b[?2004l",
        b"\x1bP",
        b"\x18",
        b"\xf0\x9f",
        b"\x1b]2;t",
        b"\x1b(",
    ];
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..3000 {
        let length = 1 + random(12);
        let bytes: Vec<u8> = (0..length)
            .flat_map(|_| WORDS[random(WORDS.len())].to_vec())
            .collect();
        let whole = cut(&bytes, &[bytes.len()]);
        let sizes: Vec<usize> = (0..bytes.len()).map(|_| 1 + random(4)).collect();
        assert_eq!(cut(&bytes, &sizes), whole, "{round}: {bytes:?}");
        assert_eq!(
            plain(&bytes, &sizes),
            plain(&bytes, &[bytes.len()]),
            "{round}: {bytes:?}"
        );
    }
}

/// The marks in order, everything between them joined, and how many bytes were held back.
fn cut(bytes: &[u8], sizes: &[usize]) -> (Vec<(bool, Vec<u8>)>, usize) {
    let mut scanner = Scanner::default();
    let mut all: Vec<(bool, Vec<u8>)> = Vec::new();
    let mut rest = bytes;
    for size in sizes {
        let (piece, more) = rest.split_at((*size).min(rest.len()));
        rest = more;
        scanner.feed(piece);
        while let Some(piece) = scanner.next() {
            match (piece, all.last_mut()) {
                (Piece::Mark(inside), _) => all.push((true, inside.to_vec())),
                (Piece::Other(bytes), Some((false, before))) => before.extend_from_slice(bytes),
                (Piece::Other(bytes), _) => all.push((false, bytes.to_vec())),
            }
        }
    }
    (all, scanner.pending())
}

fn plain(bytes: &[u8], sizes: &[usize]) -> String {
    let (mut plain, mut text, mut rest) = (Plain::default(), String::new(), bytes);
    for size in sizes {
        let (piece, more) = rest.split_at((*size).min(rest.len()));
        rest = more;
        plain.feed(piece, &mut text);
    }
    plain.finish(&mut text);
    text
}

#[test]
fn the_terminals_line_ends_are_undone_exactly() {
    let text = |bytes: &[u8]| plain(bytes, &[bytes.len()]);
    assert_eq!(text(b"a\r\nb\r\r\nc\rd\r\r"), "a\nb\r\nc\rd\r\r");
    assert_eq!(
        text(b"\x1b[1;31ma\x1b[0m\x1b]0;t\x07b\x1b]8;;x\x1b\\c\x1b(Bd\x1bPq\x07x\x1b\\e"),
        "abcde"
    );
    assert_eq!(text(b"\r\x1b[K\r\n\ttab"), "\r\n\ttab");
    assert_eq!(text(b"\xc3\xa4\xc3"), "ä\u{fffd}");
}

#[test]
fn only_the_programs_own_marks_count() {
    let mut tracker = Tracker::default();
    heard(&mut tracker, &[FIRST]);
    tracker.begin(WIRE);
    let nested = b"\x1b]133;C;aid=7\x07a\x1b]133;D;0;aid=8\x07\x1b]133;A\x07b\x1b]133;D;0;aid=7\x07\x1b]133;A;aid=7\x07";
    let all = heard(&mut tracker, &[nested]);
    assert_eq!(all, ["ours begins", "ours says ab", "ours Completed : ab"]);
}

#[test]
fn several_commands_at_once_are_one_turn() {
    let mut tracker = Tracker::default();
    heard(&mut tracker, &[b"\x1b]133;A\x07\x1b]133;B\x07"]);
    tracker.begin(WIRE);
    let two = b"\x1b]133;C\x07a\r\n\x1b]133;D;1\x07no\x1b]133;C\x07b\r\n\x1b]133;D;0\x07";
    let end = b"\x1b]133;A\x07\x1b]133;B\x07";
    let all = heard(&mut tracker, &[two, end]);
    assert_eq!(
        all,
        [
            "ours begins",
            "ours says a\nb\n",
            "ours Completed : a\nb\n",
            "idle"
        ]
    );
}

#[test]
fn what_was_not_run_is_told_by_what_stands_behind_its_echo() {
    for (said, status, expected) in [
        (
            "bash: syntax error\r\n",
            2,
            "ours Failed exit status 2: bash: syntax error\n",
        ),
        ("", 1, "ours Completed : "),
    ] {
        let mut tracker = Tracker::default();
        heard(&mut tracker, &[FIRST]);
        tracker.begin(WIRE);
        let all = format!(
            "if then\r\n\x1b[?2004l\r{said}\x1b]133;D;{status};aid=7\x07\x1b]133;A;aid=7\x07"
        );
        assert_eq!(heard(&mut tracker, &[all.as_bytes()]), [expected]);
    }
    // A prompt that is painted again is no end.
    let mut tracker = Tracker::default();
    heard(&mut tracker, &[FIRST]);
    tracker.begin(WIRE);
    let painted = b"\x1b]133;A;aid=7\x07$ \x1b]133;B;aid=7\x07";
    assert_eq!(heard(&mut tracker, &[painted]), ["idle"]);
    assert_eq!(tracker.open(), 1);
}

#[test]
fn a_persons_command_is_a_turn_of_its_own() {
    let mut tracker = Tracker::default();
    heard(&mut tracker, &[FIRST]);
    let all = heard(&mut tracker, &[TURN]);
    assert_eq!(all[0], "theirs begins");
    assert!(all[2].starts_with("theirs Failed exit status 3"), "{all:?}");
    assert!(tracker.facts().is_some());
}

#[test]
fn an_interrupt_ends_a_turn() {
    for (status, outcome) in [(130, Outcome::Interrupted), (0, Outcome::Completed)] {
        let mut tracker = Tracker::default();
        heard(&mut tracker, &[FIRST]);
        tracker.begin(WIRE);
        heard(&mut tracker, &[b"\x1b]133;C;aid=7\x07half"]);
        tracker.interrupted();
        let end = format!("\x1b]133;D;{status};aid=7\x07\x1b]133;A;aid=7\x07");
        let all = heard(&mut tracker, &[end.as_bytes()]);
        assert_eq!(all, [format!("ours {outcome:?} : half")]);
    }
}

#[test]
fn a_prompt_that_an_earlier_broker_may_have_typed_is_run_once() {
    let again = || {
        let mut tracker = Tracker::default();
        heard(&mut tracker, &[FIRST]);
        let mut tracker = Tracker::taken_up(tracker.facts().unwrap());
        tracker.begin(WIRE);
        assert!(tracker.is_unsure());
        tracker
    };
    let mut tracker = again();
    let all = heard(
        &mut tracker,
        &[b"^C\x1b]133;D;130;aid=7\x07\x1b]133;A;aid=7\x07"],
    );
    assert_eq!((all.len(), tracker.not_run()), (0, Some(WIRE)));
    let mut tracker = again();
    let all = heard(&mut tracker, &[TURN]);
    assert_eq!((all, tracker.not_run()), (told()[1..].to_vec(), None));
}

#[test]
fn marks_are_bounded() {
    let long = [
        b"\x1b]133;A;".to_vec(),
        vec![b'x'; MAX_MARK],
        b"\x07".to_vec(),
    ]
    .concat();
    let (pieces, pending) = cut(&long, &[long.len()]);
    assert_eq!((pieces.len(), pieces[0].0, pending), (1, false, 0));
    assert_eq!(read(b"A;k=s"), None);
    assert_eq!(read(b"P;k=i"), None);
    assert_eq!(read(b"D;-1;aid=x"), Some((Mark::End(Some(-1)), &b"x"[..])));
    assert_eq!(read(b"D;aid=x"), Some((Mark::End(None), &b"x"[..])));
}

#[test]
fn a_prompt_is_typed_as_it_is_or_not_at_all() {
    assert_eq!(carried("a\x1b"), Err(Why::Control('\x1b')));
    assert_eq!(carried("a\r\n"), Err(Why::Control('\r')));
    assert_eq!(
        typed("a\nb\n\n", true, false).unwrap(),
        b"\x1b[200~a\nb\x1b[201~\r"
    );
    assert_eq!(typed("a\n", false, false).unwrap(), b"a\r");
    assert_eq!(typed("a\tb", false, false), Err(Why::NotPasted));
    assert_eq!(typed(&"x".repeat(4096), false, true), Err(Why::TooLong));
}

#[test]
fn a_line_is_free_when_what_people_typed_is_done() {
    let mut line = Line::default();
    line.is_prompted(1, true);
    assert!(line.is_free());
    line.is_typed(b"ls");
    assert!(!line.is_free());
    assert_eq!(
        (line.clears(false), line.clears(true)),
        (Clears::No, Clears::Now)
    );
    line.is_typed(b"\r");
    line.is_prompted(1, false);
    assert_eq!(line.clears(true), Clears::No);
    // Ahead, while it runs.
    line.is_typed(b"pwd\r");
    line.is_prompted(2, true);
    assert!(!line.is_free());
    assert_eq!(line.clears(true), Clears::Later);
    line.is_prompted(3, true);
    assert!(line.is_free());
    line.is_typed(b"\x1b[200~a\rb\x1b[201~\r");
    line.is_prompted(4, true);
    assert!(line.is_free());
    line.is_typed(b"half");
    line.is_cleared();
    assert!(!line.is_free());
    assert_eq!(line.clears(true), Clears::No);
    line.is_prompted(5, true);
    assert!(line.is_free());
    line.is_ours();
    assert!(!line.is_free());
    let mut line = Line::taken_up();
    line.is_prompted(1, true);
    assert!(!line.is_free());
    assert_eq!(line.clears(false), Clears::Later);
    line.is_known();
    assert!(line.is_free());
}
