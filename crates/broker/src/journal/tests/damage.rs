//! Journals that are torn, cut, or written over.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The journal whose file has these bytes, in a directory of its own.
fn with_bytes(bytes: &[u8]) -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), bytes).unwrap();
    let journal = Journal::open(dir.path(), None).unwrap();
    (dir, journal)
}

/// The lines that are whole, and how many are not.
fn whole(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (whole, damaged): (Vec<_>, Vec<_>) = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .partition(|line| serde_json::from_slice::<Record>(line).is_ok());
    (whole, damaged.len())
}

/// A further turn is written behind whatever there is, and read back.
fn goes_on(dir: &Path, mut journal: Journal) {
    let file = dir.join(FILE);
    let before = fs::read(&file).unwrap();
    let damaged = journal.damaged();
    let turns = journal.totals().turns;
    for record in [queued(9000), started(9000), ended(9000)] {
        journal.write(&record).unwrap();
    }
    assert!(fs::read(&file).unwrap().starts_with(&before));
    let told_then = told(&journal);
    drop(journal);
    for _ in 0..2 {
        let again = Journal::open(dir, None).unwrap();
        assert_eq!(told(&again), told_then);
        assert_eq!(again.damaged(), damaged);
        assert_eq!(again.totals().turns, turns + 1);
        assert_eq!(again.prompt(id(9000)).unwrap(), "prompt 9000 \n\u{1f600}");
        let answer = again.report(id(9000)).unwrap().answer.unwrap();
        assert_eq!(answer, "answer 9000");
    }
}

#[test]
fn a_journal_cut_anywhere_loses_only_the_cut_line_and_goes_on() {
    let accepted = |n| Record::Accepted {
        turn: id(n),
        at: 4,
        called: false,
        line: None,
    };
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), Some(2)).unwrap();
    for n in 1..=64 {
        journal.write(&queued(n)).unwrap();
        journal.write(&ended(n)).unwrap();
    }
    journal.trim().unwrap();
    // Each line is the last one, once.
    let mut from = fs::metadata(dir.path().join(FILE)).unwrap().len() as usize;
    for record in [
        queued(101),
        started(101),
        accepted(101),
        ended(101),
        unasked(102),
        queued(103),
        started(103),
        queued(104),
        ended_as(104, Outcome::Cancelled),
        queued(104),
    ] {
        journal.write(&record).unwrap();
        let bytes = fs::read(dir.path().join(FILE)).unwrap();
        assert!(bytes.starts_with(b"{\"record\":\"totals\""));
        let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for cut in std::mem::replace(&mut from, bytes.len() + 1)..=bytes.len() {
            let bytes = &bytes[..cut];
            let (whole, damaged) = whole(bytes);
            // One that lacks nothing but its end is whole.
            let torn = !ends.contains(&cut) && !bytes.ends_with(b"\n");
            assert_eq!(damaged, usize::from(torn));
            let (dir, journal) = with_bytes(bytes);
            assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), bytes);
            assert_eq!(journal.damaged(), damaged, "cut at {cut}");
            let (_dir, model) = with_bytes(&whole.concat());
            assert_eq!(told(&journal), told(&model), "cut at {cut}");
            goes_on(dir.path(), journal);
        }
    }
}

#[test]
fn a_torn_line_that_cannot_be_taken_back_is_a_damaged_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1)]);
    let mut bytes = fs::read(dir.path().join(FILE)).unwrap();
    // Whole but for its end: a prompt that was refused must not run.
    serde_json::to_writer(&mut bytes, &queued(2)).unwrap();
    fs::write(dir.path().join(FILE), &bytes).unwrap();
    // A descriptor that cannot be written takes nothing back either.
    let good = full(&mut journal);
    journal.take_back();
    journal.file = good;
    goes_on(dir.path(), journal);
    let journal = Journal::open(dir.path(), None).unwrap();
    assert_eq!(journal.damaged(), 1);
    assert_eq!(journal.outcome(id(2)), None);
    assert!(fs::read(dir.path().join(FILE)).unwrap().starts_with(&bytes));
}

#[test]
fn damaged_lines_go_with_the_turns_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = b"old garbage\n".to_vec();
    for n in 1..=64 {
        for record in [queued(n), ended(n)] {
            serde_json::to_writer(&mut bytes, &record).unwrap();
            bytes.push(b'\n');
        }
        if n == 63 {
            bytes.extend_from_slice(b"new \xff garbage\n");
        }
    }
    fs::write(dir.path().join(FILE), &bytes).unwrap();
    let mut journal = Journal::open(dir.path(), Some(2)).unwrap();
    assert_eq!(journal.damaged(), 2);
    journal.trim().unwrap();
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    let has = |what: &[u8]| bytes.windows(what.len()).any(|at| at == what);
    assert!(has(b"\nnew \xff garbage\n") && !has(b"old garbage"));
    assert_eq!(Journal::open(dir.path(), None).unwrap().damaged(), 1);
}

/// Records of a few turns in any order: duplicates, ends without beginnings, beginnings after
/// ends; with the clock going anywhere.
fn any_record() -> impl Strategy<Value = Record> {
    let outcomes = [
        Outcome::Completed,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Unknown,
    ];
    (0..6_u8, 1..5_u128, any::<u64>(), 0..4_usize).prop_map(move |(kind, n, time, outcome)| {
        let mut record = match kind {
            0 => queued(n),
            1 => started(n),
            2 => Record::Accepted {
                turn: id(n),
                at: 0,
                called: false,
                line: None,
            },
            3 => unasked(n + 10),
            4 if time % 4 == 0 => Record::Totals {
                turns: 3,
                usage: Usage::default(),
                cost_usd: 1.0,
            },
            _ => ended_as(n, outcomes[outcome]),
        };
        match &mut record {
            Record::Queued { at, .. }
            | Record::Started { at, .. }
            | Record::Accepted { at, .. }
            | Record::Ended { at, .. } => *at = time,
            Record::Totals { .. } => {}
        }
        record
    })
}

/// A line of a journal, or of what a disk makes of one.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let good = any_record().prop_map(|record| serde_json::to_vec(&record).unwrap());
    let garbage = vec(
        any::<u8>().prop_filter("a line", |byte| *byte != b'\n'),
        0..40,
    );
    let torn = (any_record(), any::<prop::sample::Index>()).prop_map(|(record, at)| {
        let mut line = serde_json::to_vec(&record).unwrap();
        line.truncate(at.index(line.len()));
        line
    });
    prop_oneof![6 => good, 1 => garbage, 1 => torn]
}

/// What holds for a journal of these bytes.
fn holds(bytes: &[u8]) {
    let (whole, damaged) = whole(bytes);
    let records = whole
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap());
    let records: Vec<Record> = records.collect();
    let (dir, mut journal) = with_bytes(bytes);
    assert_eq!(journal.damaged(), damaged);
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), bytes);
    // Every turn of a whole line is there, in the order of their first lines.
    let mut seen = BTreeSet::new();
    let mut turns: Vec<TurnId> = records.iter().filter_map(Record::turn).collect();
    turns.retain(|turn| seen.insert(*turn));
    let log = journal.log(None, None, u64::MAX).0;
    assert_eq!(log.iter().map(|line| line.turn).collect::<Vec<_>>(), turns);
    for turn in &turns {
        let mine: Vec<&Record> = records.iter().filter(|r| r.turn() == Some(*turn)).collect();
        let ended = mine.iter().rposition(|r| matches!(r, Record::Ended { .. }));
        let began = mine
            .iter()
            .position(|r| matches!(r, Record::Started { .. } | Record::Accepted { .. }));
        let open = journal.outcome(*turn).unwrap().open();
        if let (Some(ended), Some(began)) = (ended, began)
            && began < ended
        {
            assert!(!open, "{turn} was with the agent and has ended: {mine:?}");
        }
        if open {
            assert_eq!(journal.report(*turn), None);
        } else if let Some(Record::Ended { report, .. }) = ended.map(|at| mine[at]) {
            assert_eq!(journal.report(*turn).as_ref(), Some(&**report));
        }
        let prompts = mine.iter().filter_map(|record| match record {
            Record::Queued { prompt, .. } => Some(prompt.clone()),
            _ => None,
        });
        let (prompts, prompt) = (prompts.collect::<Vec<_>>(), journal.prompt(*turn));
        assert!(prompt.map_or(prompts.is_empty(), |prompt| prompts.contains(&prompt)));
    }
    let sums = records.iter().map(|record| match record {
        Record::Totals { turns, .. } => *turns,
        _ => 0,
    });
    let reports = turns.iter().filter(|turn| journal.report(**turn).is_some());
    let ended = reports.count() as u64;
    assert_eq!(journal.totals().turns, sums.sum::<u64>() + ended);
    // Written anew it says the same; and so it does without the damaged lines.
    let (_dir, model) = with_bytes(&whole.concat());
    assert_eq!(told(&journal), told(&model));
    assert_eq!(journal.open as usize, journal.open_turns().len());
    let before = told(&journal);
    journal.rewrite(0).unwrap();
    assert_eq!(told(&journal), before);
    assert_eq!(journal.damaged(), damaged);
    goes_on(dir.path(), journal);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_lines_there_are_the_whole_ones_count(
        lines in vec(any_line(), 0..30),
        ends in any::<bool>(),
    ) {
        let mut bytes = lines.join(&b'\n');
        if ends {
            bytes.push(b'\n');
        }
        holds(&bytes);
    }

    #[test]
    fn whatever_bytes_are_flipped_the_whole_lines_count(
        records in vec(any_record(), 1..12),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        let mut bytes = Vec::new();
        for record in records {
            serde_json::to_writer(&mut bytes, &record).unwrap();
            bytes.push(b'\n');
        }
        for (at, by) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        holds(&bytes);
    }
}
