//! The journal under what disks and deaths do to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clsess_proto::{ErrorCode, Failure, Outcome, TurnId, TurnReport, Usage};
use uuid::Uuid;

use super::{END_ROOM, FILE, Journal, MAX_UNWRITTEN, Record, Terms};
use crate::disk::{Disk, Synced};

mod damage;

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
    ended_as(n, Outcome::Completed)
}

fn unasked(n: u128) -> Record {
    let mut record = ended(n);
    if let Record::Ended { report, .. } = &mut record {
        report.origin = Some("agent".into());
    }
    record
}

fn ended_as(n: u128, outcome: Outcome) -> Record {
    let report = TurnReport {
        steered_into: None,
        origin: None,
        prompt_trimmed: false,
        agent_deaths: 0,
        context_lost: None,
        wire_differs: false,
        session: "work".into(),
        turn: id(n),
        outcome,
        answer: Some(format!("answer {n}")),
        texts: None,
        error: None,
        is_error: false,
        exit_status: None,
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

/// A descriptor that cannot be written stands in for a full disk; the good one.
fn full(journal: &mut Journal) -> Arc<Synced> {
    let unwritable = fs::File::open(&journal.path).unwrap();
    std::mem::replace(&mut journal.file, Arc::new(Synced::new(unwritable)))
}

/// All that a journal tells.
fn told(journal: &Journal) -> impl PartialEq + std::fmt::Debug + use<> {
    let (log, more) = journal.log(None, None, u64::MAX);
    assert!(!more);
    let of = |turn| (journal.report(turn), journal.started(turn));
    let turns: Vec<_> = log.into_iter().map(|line| (of(line.turn), line)).collect();
    let open = journal.open_turns();
    let open: Vec<_> = open.iter().map(|turn| (turn.turn, turn.started)).collect();
    let totals = journal.totals();
    (turns, open, totals, journal.select("-1"))
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
    assert_eq!(journal.damaged(), 0);
    assert_eq!(journal.prompt(id(1)).unwrap(), "prompt 1 \n\u{1f600}");
    assert_eq!(journal.report(id(1)).unwrap().answer.unwrap(), "answer 1");
    assert_eq!(journal.report(id(2)), None);
    assert_eq!(journal.outcome(id(4)), None);
    let open: Vec<_> = journal
        .open_turns()
        .iter()
        .map(|turn| (turn.turn, turn.started))
        .collect();
    assert_eq!(open, [(id(3), None), (id(2), Some(2))]);
    assert_eq!(journal.totals().turns, 1);
    assert_eq!(journal.totals().usage.input_tokens, 10);
}

/// One that interrupted went first, and the one before it was put into it.
#[test]
fn what_the_agent_has_comes_in_the_order_that_it_was_given_in() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n, at| Record::Started { turn: id(n), at };
    let records = [queued(1), queued(2), queued(3), at(2, 5), at(1, 9)];
    drop(written(dir.path(), &records));
    let journal = Journal::open(dir.path(), None).unwrap();
    let open = journal.open_turns();
    let open: Vec<_> = open.iter().map(|open| open.turn).collect();
    assert_eq!(open, [id(3), id(2), id(1)]);
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
    assert_eq!(journal.damaged(), 1);
    assert_eq!(journal.outcome(id(1)), None);
    assert_eq!(journal.outcome(id(2)), Some(Outcome::Queued));
}

#[test]
fn a_line_that_the_disk_does_not_take_leaves_the_journal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1)]);
    let before = fs::read(dir.path().join(FILE)).unwrap();
    let good = full(&mut journal);
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
    let good = full(&mut journal);
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
    let accepted = Record::Accepted {
        turn: id(1),
        at: 4,
        called: false,
        line: None,
    };
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
    assert_eq!(again.damaged(), 0);
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

/// One that a limit refused waits again; it must not look as if it still ran.
#[test]
fn a_trimmed_journal_remembers_what_a_limit_has_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), Some(2)).unwrap();
    for record in [queued(1000), started(1000), queued(1000)] {
        journal.write(&record).unwrap();
    }
    for n in 1..=64 {
        journal.write(&queued(n)).unwrap();
        journal.write(&ended(n)).unwrap();
    }
    journal.trim().unwrap();
    assert_eq!(journal.outcome(id(1)), None, "trimmed");
    for journal in [&journal, &Journal::open(dir.path(), None).unwrap()] {
        assert_eq!(journal.outcome(id(1000)), Some(Outcome::Queued));
        assert!(journal.started(id(1000)));
    }
}

#[test]
fn a_turn_that_runs_again_costs_what_its_last_end_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = ended_as(1, Outcome::Failed);
    if let Record::Ended { report, .. } = &mut first {
        (report.cost_usd, report.usage) = (None, None);
    }
    let mut journal = written(dir.path(), &[queued(1), first, queued(1)]);
    assert_eq!(journal.totals().turns, 0, "it waits");
    journal.write(&started(1)).unwrap();
    journal.write(&ended(1)).unwrap();
    let totals = journal.totals();
    assert_eq!(
        (totals.turns, totals.cost_usd, totals.usage.input_tokens),
        (1, 0.5, 10)
    );
    assert_eq!(Journal::open(dir.path(), None).unwrap().totals(), totals);
}

#[test]
fn a_turn_that_was_with_the_agent_is_never_opened_again() {
    for (before, outcome) in [
        (vec![queued(1), started(1), ended(1)], Outcome::Completed),
        (
            vec![queued(1), started(1), ended_as(1, Outcome::Failed)],
            Outcome::Failed,
        ),
        (vec![queued(1), ended(1)], Outcome::Completed),
        (vec![ended(1)], Outcome::Completed),
        (
            vec![queued(1), ended_as(1, Outcome::TimedOut)],
            Outcome::TimedOut,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(written(dir.path(), &before));
        drop(written(dir.path(), &[queued(1), started(1)]));
        let journal = Journal::open(dir.path(), None).unwrap();
        assert_eq!(journal.outcome(id(1)), Some(outcome), "{before:?}");
        assert!(journal.open_turns().is_empty());
        assert_eq!(journal.totals().turns, 1);
    }
    for outcome in [Outcome::Failed, Outcome::Cancelled] {
        let dir = tempfile::tempdir().unwrap();
        drop(written(
            dir.path(),
            &[queued(1), ended_as(1, outcome), queued(1)],
        ));
        let journal = Journal::open(dir.path(), None).unwrap();
        assert_eq!(journal.outcome(id(1)), Some(Outcome::Queued), "{outcome:?}");
    }
}

#[test]
fn ends_that_nobody_asked_for_are_kept_in_bounds_while_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1), started(1)]);
    let good = full(&mut journal);
    for n in 0..MAX_UNWRITTEN as u128 + 10 {
        journal.write_end(unasked(n + 10)).unwrap_err();
    }
    journal.write_end(ended(1)).unwrap_err();
    assert_eq!(journal.unwritten(), MAX_UNWRITTEN + 1);
    // It is told as it will be.
    assert_eq!(journal.totals().turns, MAX_UNWRITTEN as u64 + 1);
    assert_eq!(journal.select("-1"), Ok(id(1)));
    assert_eq!(journal.catch_up().unwrap_err().raw_os_error(), Some(9));
    journal.file = good;
    let before = told(&journal);
    journal.catch_up().unwrap();
    assert_eq!(told(&journal), before);
    assert_eq!(told(&Journal::open(dir.path(), None).unwrap()), before);
}

/// What the disk has said it could not sync may be gone: it has to be written anew before
/// anything is promised again.
#[test]
fn after_a_failed_sync_all_lines_are_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path(), &[queued(1), started(1), queued(2)]);
    let (disk, _) = Disk::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let sync = |journal: &Journal| runtime.block_on(disk.sync(journal.file()).kept());
    sync(&journal).unwrap();
    // A pipe cannot be synced.
    let (_, pipe) = std::io::pipe().unwrap();
    let good = std::mem::replace(
        &mut journal.file,
        Arc::new(Synced::new(std::os::fd::OwnedFd::from(pipe).into())),
    );
    sync(&journal).unwrap_err();
    let failed = std::mem::replace(&mut journal.file, good);
    assert!(failed.failed());
    journal.file.fail();
    // The kernel would say yes by now.
    sync(&journal).unwrap_err();
    journal.write_end(ended(1)).unwrap();
    sync(&journal).unwrap();
    let before = told(&journal);
    let again = Journal::open(dir.path(), None).unwrap();
    assert_eq!(told(&again), before);
    assert_eq!(again.damaged(), 0);
    assert_eq!(again.outcome(id(1)), Some(Outcome::Completed));
    assert_eq!(again.prompt(id(2)).unwrap(), "prompt 2 \n\u{1f600}");
    assert!(!dir.path().join("turns.new").exists());
}

#[test]
fn a_file_that_something_else_writes_takes_no_line_more() {
    type Meddle = fn(&Path);
    let meddlers: [(&str, Meddle); 5] = [
        ("was removed or replaced", |file| {
            fs::remove_file(file).unwrap();
        }),
        ("was removed or replaced", |file| {
            fs::write(file.with_extension("other"), "theirs\n").unwrap();
            fs::rename(file.with_extension("other"), file).unwrap();
        }),
        ("is written", |file| {
            drop(written(file.parent().unwrap(), &[queued(2)]));
        }),
        ("was shortened", |file| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(3)
                .unwrap();
        }),
        // Another broker has forgotten old turns, or written all of them anew.
        ("was removed or replaced", |file| {
            Journal::open(file.parent().unwrap(), None)
                .unwrap()
                .rewrite(0)
                .unwrap();
        }),
    ];
    for (why, meddle) in meddlers {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let mut journal = written(dir.path(), &[queued(1)]);
        meddle(&file);
        let theirs = fs::read(&file).ok();
        let check = |error: std::io::Error| {
            let message = format!("{} {why} by something else", file.display());
            assert_eq!(error.to_string(), message);
            assert_eq!(fs::read(&file).ok(), theirs, "{why}");
        };
        check(journal.write(&queued(3)).unwrap_err());
        assert_eq!(journal.outcome(id(3)), None);
        check(journal.rewrite(0).unwrap_err());
        journal.file.fail();
        check(journal.write_end(ended(1)).unwrap_err());
        assert!(!dir.path().join("turns.new").exists());
    }
}

#[test]
fn a_trim_that_fails_leaves_all_as_it_was_and_is_not_tried_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), Some(2)).unwrap();
    let add = |journal: &mut Journal, turns: std::ops::RangeInclusive<u128>| {
        for n in turns {
            journal.write(&queued(n)).unwrap();
            journal.write(&ended(n)).unwrap();
        }
    };
    add(&mut journal, 1..=64);
    let before = (told(&journal), fs::read(dir.path().join(FILE)).unwrap());
    // Nothing can be written where a directory is.
    fs::create_dir(dir.path().join("turns.new")).unwrap();
    journal.trim().unwrap_err();
    let after = (told(&journal), fs::read(dir.path().join(FILE)).unwrap());
    assert_eq!(after, before);
    journal.trim().unwrap();
    add(&mut journal, 65..=127);
    journal.trim().unwrap();
    assert!(journal.report(id(1)).is_some());
    fs::remove_dir(dir.path().join("turns.new")).unwrap();
    add(&mut journal, 128..=128);
    journal.trim().unwrap();
    assert!(journal.report(id(1)).is_none());
    assert_eq!(journal.totals().turns, 128);
    assert_eq!(
        told(&Journal::open(dir.path(), None).unwrap()),
        told(&journal)
    );
}

#[test]
fn the_end_of_a_turn_that_is_refused_fits_into_what_is_set_aside_for_it() {
    let mut record = ended_as(1, Outcome::TimedOut);
    if let Record::Ended { at, report } = &mut record {
        *at = u64::MAX;
        report.session = "x".repeat(64);
        report.queued_ms = Some(u64::MAX);
        (report.answer, report.usage, report.cost_usd) = (None, None, None);
        let error = std::io::Error::from_raw_os_error(28);
        let message = format!("the journal cannot be written: {error}, so nothing was sent");
        let failure = Failure::new(ErrorCode::JournalFailed, message);
        report.error = Some(failure.hint(crate::disk::hint(&error)));
    }
    let length = serde_json::to_vec(&record).unwrap().len() as u64;
    assert!(length <= END_ROOM, "{length}");
}

/// A death before the rename leaves half a file beside the journal.
#[test]
fn half_a_new_file_beside_the_journal_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("turns.new");
    let mut journal = written(dir.path(), &[queued(1), started(1), queued(2)]);
    let before = told(&journal);
    fs::write(&beside, "{\"record\":\"totals\",\"turns\":9".repeat(9000)).unwrap();
    assert_eq!(told(&Journal::open(dir.path(), None).unwrap()), before);
    journal.rewrite(0).unwrap();
    assert!(!beside.exists());
    assert_eq!(told(&Journal::open(dir.path(), None).unwrap()), before);
}
