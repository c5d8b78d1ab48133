//! The journal under what disks and deaths do to it.

use std::fs;
use std::path::Path;

use clsess_proto::{Outcome, TurnId, TurnReport, Usage};
use uuid::Uuid;

use super::{FILE, Journal, Record, Terms};

fn id(n: u128) -> TurnId {
    TurnId(Uuid::from_u128(n << 96 | n))
}

fn queued(n: u128) -> Record {
    Record::Queued {
        turn: id(n),
        at: 1,
        prompt: format!("prompt {n} \n\u{1f600}"),
        terms: Terms {
            timeout_ms: 7,
            ..Terms::default()
        },
    }
}

fn started(n: u128) -> Record {
    Record::Started { turn: id(n), at: 2 }
}

fn ended(n: u128) -> Record {
    let report = TurnReport {
        steered_into: None,
        origin: None,
        agent_deaths: 0,
        session: "work".into(),
        turn: id(n),
        outcome: Outcome::Completed,
        answer: Some(format!("answer {n}")),
        texts: None,
        error: None,
        is_error: false,
        stop_reason: Some("end_turn".into()),
        usage: Some(Usage {
            input_tokens: 10,
            ..Usage::default()
        }),
        cost_usd: Some(0.5),
        duration_ms: None,
        ttft_ms: None,
        queued_ms: None,
        model: None,
        agent_session_id: None,
        permission_denials: vec![],
    };
    Record::Ended {
        at: 3,
        report: Box::new(report),
    }
}

fn written(dir: &Path, records: &[Record]) -> Journal {
    let mut journal = Journal::open(dir, None).unwrap();
    for record in records {
        journal.write(record).unwrap();
    }
    journal
}

#[test]
fn what_was_written_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let records = [
        queued(1),
        started(1),
        ended(1),
        queued(2),
        started(2),
        queued(3),
    ];
    drop(written(dir.path(), &records));
    let journal = Journal::open(dir.path(), None).unwrap();
    assert_eq!(journal.damaged, 0);
    assert_eq!(journal.prompt(id(1)).unwrap(), "prompt 1 \n\u{1f600}");
    assert_eq!(journal.report(id(1)).unwrap().answer.unwrap(), "answer 1");
    assert_eq!(journal.report(id(2)), None);
    assert_eq!(journal.outcome(id(4)), None);
    let open: Vec<_> = journal
        .open_turns()
        .iter()
        .map(|turn| (turn.turn, turn.started))
        .collect();
    assert_eq!(open, [(id(2), Some(2)), (id(3), None)]);
    assert_eq!(journal.totals().turns, 1);
    assert_eq!(journal.totals().usage.input_tokens, 10);
}

#[test]
fn a_journal_cut_anywhere_loses_only_the_cut_line_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), &[queued(1), started(1), ended(1)]));
    let whole = fs::read(dir.path().join(FILE)).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for cut in ends[0] + 1..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), &whole[..cut]).unwrap();
        let mut journal = Journal::open(dir.path(), None).unwrap();
        let torn = !whole[..cut].ends_with(b"\n");
        assert_eq!(journal.damaged, u64::from(torn), "cut at {cut}");
        assert_eq!(journal.open_turns().len(), 1, "cut at {cut}");
        journal.write(&ended(1)).unwrap();
        journal.write(&queued(2)).unwrap();
        drop(journal);
        let text = fs::read(dir.path().join(FILE)).unwrap();
        assert!(text.starts_with(&whole[..cut]), "nothing is overwritten");
        let journal = Journal::open(dir.path(), None).unwrap();
        assert_eq!(
            journal.outcome(id(1)),
            Some(Outcome::Completed),
            "cut at {cut}"
        );
        assert_eq!(
            journal.outcome(id(2)),
            Some(Outcome::Queued),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), &[queued(1), queued(2)]));
    let path = dir.path().join(FILE);
    let text = fs::read_to_string(&path)
        .unwrap()
        .replacen("queued", "qu\u{0}eued", 1);
    fs::write(&path, text).unwrap();
    let journal = Journal::open(dir.path(), None).unwrap();
    assert_eq!(journal.damaged, 1);
    assert_eq!(journal.outcome(id(1)), None);
    assert_eq!(journal.outcome(id(2)), Some(Outcome::Queued));
}

#[test]
fn a_line_that_the_disk_does_not_take_leaves_the_journal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1)]);
    let before = fs::read(dir.path().join(FILE)).unwrap();
    // A descriptor that cannot be written stands in for a full disk.
    let good = std::mem::replace(
        &mut journal.file,
        std::sync::Arc::new(fs::File::open(dir.path().join(FILE)).unwrap()),
    );
    journal.write(&queued(2)).unwrap_err();
    assert_eq!(journal.outcome(id(2)), None);
    journal.file = good;
    journal.write(&queued(3)).unwrap();
    let after = fs::read(dir.path().join(FILE)).unwrap();
    assert!(after.starts_with(&before));
    assert_eq!(journal.prompt(id(3)).unwrap(), "prompt 3 \n\u{1f600}");
}

#[test]
fn an_end_that_the_disk_does_not_take_is_kept_and_written_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1), started(1)]);
    let good = std::mem::replace(
        &mut journal.file,
        std::sync::Arc::new(fs::File::open(dir.path().join(FILE)).unwrap()),
    );
    journal.write_end(ended(1)).unwrap_err();
    assert_eq!(journal.outcome(id(1)), Some(Outcome::Completed));
    assert_eq!(journal.report(id(1)).unwrap().answer.unwrap(), "answer 1");
    journal.write(&queued(2)).unwrap_err();
    journal.file = good;
    journal.write(&queued(2)).unwrap();
    let journal = Journal::open(dir.path(), None).unwrap();
    assert_eq!(journal.report(id(1)).unwrap().answer.unwrap(), "answer 1");
    assert_eq!(journal.outcome(id(2)), Some(Outcome::Queued));
    assert_eq!(journal.totals().turns, 1);
}

#[test]
fn a_late_word_of_the_agent_does_not_open_an_ended_turn() {
    let dir = tempfile::tempdir().unwrap();
    let accepted = Record::Accepted { turn: id(1), at: 4 };
    drop(written(
        dir.path(),
        &[queued(1), started(1), ended(1), accepted],
    ));
    let journal = Journal::open(dir.path(), None).unwrap();
    assert_eq!(journal.outcome(id(1)), Some(Outcome::Completed));
    assert!(journal.open_turns().is_empty());
}

#[test]
fn turns_are_named_by_id_by_beginning_and_from_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = written(dir.path(), &[queued(1), queued(2)]);
    assert_eq!(journal.select("-1"), Ok(id(2)));
    assert_eq!(journal.select("-2"), Ok(id(1)));
    assert_eq!(journal.select(&id(1).to_string()), Ok(id(1)));
    assert_eq!(journal.select("00000002"), Ok(id(2)));
    for (selector, why) in [
        ("-3", "there is no turn -3, only 2"),
        ("-0", "there is no turn -0"),
        ("-x", "-x is not a turn"),
        ("000", "000 is not a turn"),
        ("0000", "several turns begin with 0000"),
        ("ffff", "there is no turn ffff"),
    ] {
        let said = journal.select(selector).unwrap_err().message;
        assert!(said.starts_with(why), "{selector}: {said}");
    }
}

#[test]
fn history_is_bounded_and_sums_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), Some(32)).unwrap();
    journal.write(&queued(1)).unwrap();
    journal.write(&queued(100)).unwrap();
    journal.write(&started(100)).unwrap();
    for n in 2..=65 {
        journal.write(&queued(n)).unwrap();
        journal.write(&started(n)).unwrap();
        journal.write(&ended(n)).unwrap();
    }
    let before = journal.totals();
    journal.trim().unwrap();
    assert_eq!(journal.totals(), before);
    assert_eq!(journal.outcome(id(2)), None, "forgotten");
    assert_eq!(journal.report(id(65)).unwrap().answer.unwrap(), "answer 65");
    assert_eq!(journal.select("-32"), Ok(id(34)));
    let again = Journal::open(dir.path(), Some(32)).unwrap();
    assert_eq!(again.totals(), before);
    assert_eq!(again.damaged, 0);
    for journal in [&journal, &again] {
        assert_eq!(
            journal.outcome(id(1)),
            Some(Outcome::Queued),
            "open ones stay"
        );
        assert_eq!(
            journal.outcome(id(100)),
            Some(Outcome::Running),
            "and as they were"
        );
    }
}

/// A turn that was with the agent must not look, after a trim, as if it had not been: its id
/// would be as good as new.
#[test]
fn a_trimmed_journal_remembers_what_was_with_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), Some(32)).unwrap();
    for n in 1..=70 {
        journal.write(&queued(n)).unwrap();
        if n % 2 == 0 {
            journal.write(&started(n)).unwrap();
        }
        journal.write(&ended(n)).unwrap();
    }
    journal.trim().unwrap();
    assert_eq!(journal.outcome(id(1)), None, "trimmed");
    let again = Journal::open(dir.path(), Some(32)).unwrap();
    for journal in [&journal, &again] {
        assert!(journal.started(id(70)) && !journal.started(id(69)));
        assert!(journal.report(id(70)).is_some());
    }
}
