//! What the broker answers.

use clsess_proto::{
    BrokerStatus, Detached, ExitStatus, Killed, LogEntry, Question, QueuedTurn, Reply,
    SessionDetail, SessionRow, TapDetail, TurnReport,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{any_of, denial, failure, json, outcome, some_text, state, text, turn, usage, uuid};

/// Any report of a turn.
pub fn report() -> impl Strategy<Value = TurnReport> {
    let what = (
        text(),
        turn(),
        outcome(),
        some_text(),
        option::of(vec(text(), 0..3)),
    );
    let how = (
        option::of(failure()),
        any::<bool>(),
        some_text(),
        some_text(),
    );
    let numbers = (
        option::of(usage()),
        option::of(any::<f64>()),
        any::<[Option<u64>; 3]>(),
    );
    let agent = (option::of(uuid()), vec(denial(), 0..3));
    let lost = (any::<u32>(), some_text());
    let agent = (agent, option::of(turn()), some_text(), lost);
    (what, how, numbers, agent).prop_map(|(what, how, numbers, agent)| {
        let (session, turn, outcome, answer, texts) = what;
        let (error, is_error, stop_reason, model) = how;
        let (usage, cost_usd, [duration_ms, ttft_ms, queued_ms]) = numbers;
        let ((agent_session_id, permission_denials), steered_into, origin, lost) = agent;
        let (agent_deaths, context_lost) = lost;
        let (prompt_trimmed, wire_differs) = (is_error, !is_error);
        TurnReport {
            session,
            turn,
            outcome,
            answer,
            texts,
            error,
            is_error,
            exit_status: agent_deaths.try_into().ok(),
            stop_reason,
            usage,
            cost_usd,
            duration_ms,
            ttft_ms,
            queued_ms,
            model,
            agent_session_id,
            permission_denials,
            steered_into,
            origin,
            prompt_trimmed,
            agent_deaths,
            context_lost,
            wire_differs,
        }
    })
}

pub fn row() -> impl Strategy<Value = SessionRow> {
    let texts = (text(), some_text(), text(), text());
    (texts, uuid(), state(), any::<[u64; 6]>()).prop_map(
        |((name, detail, driver, cwd), id, state, numbers)| {
            let [since, queue, turns, attached, background, idle_s] = numbers;
            SessionRow {
                name,
                id,
                state,
                since,
                detail,
                driver,
                queue,
                turns,
                attached,
                background,
                idle_s,
                cwd,
            }
        },
    )
}

fn exit() -> impl Strategy<Value = ExitStatus> {
    any::<[Option<u32>; 2]>().prop_map(|[code, signal]| ExitStatus { code, signal })
}

fn detached() -> impl Strategy<Value = Detached> {
    (any_of(), option::of(exit())).prop_map(|(reason, exit)| Detached { reason, exit })
}

fn tap() -> impl Strategy<Value = TapDetail> {
    let limits = btree_map(text(), text(), 0..3);
    let numbers = any::<(Option<u64>, u64)>();
    (any_of(), limits, numbers).prop_map(|(way, limits, (ttfb_ms, unread))| TapDetail {
        way,
        ttfb_ms,
        limits,
        unread,
    })
}

fn detail() -> impl Strategy<Value = SessionDetail> {
    let program = (
        vec(text(), 0..3),
        some_text(),
        any::<Option<(u16, u16)>>(),
        option::of(exit()),
    );
    let agent = (
        option::of(uuid()),
        any::<[Option<u32>; 2]>(),
        some_text(),
        some_text(),
    );
    let sums = (
        option::of(usage()),
        option::of(any::<f64>()),
        option::of(failure()),
        option::of(tap()),
    );
    let questions = vec(question(), 0..3);
    (row(), agent, program, questions, sums).prop_map(|(row, agent, program, questions, sums)| {
        let (usage, cost_usd, last_error, tap) = sums;
        let (command, title, size, exit) = program;
        let (agent_session_id, [pid, holder_pid], agent_version, model) = agent;
        SessionDetail {
            row,
            agent_session_id,
            command,
            title,
            size,
            exit,
            pid,
            holder_pid,
            agent_version,
            model,
            usage,
            cost_usd,
            tap,
            questions,
            last_error,
        }
    })
}

fn queued_turn() -> impl Strategy<Value = QueuedTurn> {
    (turn(), any::<u64>(), text(), some_text()).prop_map(|(turn, at, prompt, waiting)| QueuedTurn {
        turn,
        at,
        prompt,
        waiting,
    })
}

fn log_entry() -> impl Strategy<Value = LogEntry> {
    let what = (turn(), any::<u64>(), some_text(), some_text(), outcome());
    let error = option::of(failure());
    let numbers = (option::of(any::<f64>()), any::<Option<u64>>());
    (what, error, numbers, option::of(turn()), some_text()).prop_map(
        |(what, error, (cost_usd, duration_ms), steered_into, origin)| {
            let (turn, at, prompt, answer, outcome) = what;
            LogEntry {
                turn,
                at,
                prompt,
                answer,
                outcome,
                error,
                cost_usd,
                duration_ms,
                steered_into,
                origin,
            }
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let texts = (text(), text(), text(), text());
    let options = vec(text(), 0..3);
    (
        texts,
        option::of(turn()),
        any_of(),
        json(),
        options,
        any::<u64>(),
    )
        .prop_map(
            |((id, session, tool, text), turn, kind, input, options, asked_at)| Question {
                id,
                session,
                turn,
                kind,
                tool,
                input,
                text,
                options,
                asked_at,
            },
        )
}

fn killed() -> impl Strategy<Value = Killed> {
    let ids = (option::of(uuid()), option::of(uuid()));
    (text(), ids, some_text(), option::of(failure())).prop_map(
        |(session, (id, agent_session_id), cwd, error)| Killed {
            session,
            id,
            agent_session_id,
            cwd,
            error,
        },
    )
}

fn status() -> impl Strategy<Value = BrokerStatus> {
    (any::<(u32, u64)>(), text(), text(), text()).prop_map(
        |((pid, sessions), version, socket, state_dir)| BrokerStatus {
            pid,
            version,
            socket,
            state_dir,
            sessions,
        },
    )
}

/// Any reply but those of later versions.
pub fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (row(), any::<bool>()).prop_map(|(session, created)| Reply::Session { session, created }),
        turn().prop_map(|turn| Reply::Accepted { turn }),
        report().prop_map(|report| Reply::Turn(Box::new(report))),
        vec(row(), 0..3).prop_map(|sessions| Reply::Sessions { sessions }),
        detail().prop_map(|detail| Reply::Detail(Box::new(detail))),
        vec(killed(), 0..3).prop_map(|sessions| Reply::Killed { sessions }),
        option::of(turn()).prop_map(|turn| Reply::Interrupted { turn }),
        vec(row(), 0..3).prop_map(|sessions| Reply::Waited { sessions }),
        vec(queued_turn(), 0..3).prop_map(|turns| Reply::Queue { turns }),
        vec(turn(), 0..3).prop_map(|turns| Reply::Removed { turns }),
        (vec(log_entry(), 0..3), any::<bool>())
            .prop_map(|(turns, more)| Reply::Log { turns, more }),
        vec(question(), 0..3).prop_map(|questions| Reply::Questions { questions }),
        question().prop_map(|question| Reply::Answered {
            question: Box::new(question)
        }),
        detached().prop_map(Reply::Detached),
        vec(any::<u8>(), 0..8).prop_map(|screen| Reply::Captured {
            screen: screen.into()
        }),
        vec(any::<u8>(), 0..8).prop_map(|output| Reply::Hooked {
            output: output.into()
        }),
        proptest::option::of(vec(any::<u8>(), 0..8)).prop_map(|text| Reply::Edited {
            text: text.map(Into::into)
        }),
        status().prop_map(Reply::Status),
        Just(Reply::Done {}),
    ]
}
