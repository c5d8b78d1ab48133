//! Any value of each type that crosses the socket. A new variant is a line here, a new field a
//! line in its struct.

use clsess_proto::{
    BrokerStatus, Denial, ErrorCode, Event, EventKind, Failure, Hello, Killed, New, OnQuestion,
    Outcome, Reply, Request, Send, SessionDetail, SessionRow, Settings, State, ToBroker, ToClient,
    TurnId, TurnReport, Usage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

fn text() -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..8).prop_map(|text| text.into_iter().collect())
}

fn some_text() -> impl Strategy<Value = Option<String>> + Clone {
    option::of(text())
}

fn uuid() -> impl Strategy<Value = Uuid> + Clone {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn turn() -> impl Strategy<Value = TurnId> {
    uuid().prop_map(TurnId)
}

/// What an agent may give as a tool's input.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A value of an enum of names: its name on the wire, and one that is not known yet.
fn named<T: DeserializeOwned + Clone + std::fmt::Debug + 'static>(
    names: &[&str],
) -> impl Strategy<Value = T> {
    let read = |name: &&str| serde_json::from_value(Value::from(*name)).unwrap();
    select(names.iter().map(read).collect::<Vec<T>>())
}

fn code() -> impl Strategy<Value = ErrorCode> {
    named(&[
        "bad_request",
        "prompt_too_long",
        "no_such_turn",
        "agent_died",
        "timed_out",
        "later",
    ])
}

fn outcome() -> impl Strategy<Value = Outcome> {
    named(&[
        "queued",
        "running",
        "completed",
        "failed",
        "interrupted",
        "cancelled",
        "timed-out",
        "unknown",
        "later",
    ])
}

fn state() -> impl Strategy<Value = State> {
    named(&[
        "starting",
        "idle",
        "working",
        "restarting",
        "asleep",
        "failed",
        "ending",
        "later",
    ])
}

fn failure() -> impl Strategy<Value = Failure> {
    (code(), text(), some_text()).prop_map(|(code, message, hint)| Failure {
        code,
        message,
        hint,
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 4]>().prop_map(|[input, output, creation, read]| Usage {
        input_tokens: input,
        output_tokens: output,
        cache_creation_input_tokens: creation,
        cache_read_input_tokens: read,
    })
}

fn denial() -> impl Strategy<Value = Denial> {
    (text(), json()).prop_map(|(tool, input)| Denial { tool, input })
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<u32>(), text(), vec(text(), 0..3), some_text()).prop_map(
        |(protocol, version, capabilities, state_dir)| Hello {
            protocol,
            version,
            capabilities,
            state_dir,
        },
    )
}

type Env = Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>;

fn env() -> impl Strategy<Value = Env> {
    let bytes = || vec(any::<u8>(), 0..6).prop_map(serde_bytes::ByteBuf::from);
    vec((bytes(), bytes()), 0..3)
}

fn settings() -> impl Strategy<Value = Settings> {
    let texts = [(); 6].map(|()| some_text());
    let lists = (vec(text(), 0..3), vec(text(), 0..3));
    (texts, lists, any::<(Option<u32>, Option<u32>)>()).prop_map(
        |(texts, (agent_args, env_forget), (max_turns, history))| {
            let [
                model,
                permission_mode,
                system_prompt,
                append_system_prompt,
                agent,
                agent_path,
            ] = texts;
            Settings {
                model,
                permission_mode,
                system_prompt,
                append_system_prompt,
                agent,
                max_turns,
                agent_path,
                agent_args,
                history,
                env_forget,
            }
        },
    )
}

fn new() -> impl Strategy<Value = New> {
    let flags = any::<[bool; 3]>();
    (
        some_text(),
        text(),
        env(),
        settings(),
        option::of(uuid()),
        flags,
        any::<(u64, Option<u32>)>(),
    )
        .prop_map(
            |(name, cwd, env, settings, resume, flags, (start_timeout_ms, umask))| New {
                name,
                cwd,
                env,
                settings,
                resume,
                trust: flags[0],
                exists_ok: flags[1],
                wait: flags[2],
                start_timeout_ms,
                umask,
            },
        )
}

fn send() -> impl Strategy<Value = Send> {
    let question = select(vec![OnQuestion::Deny, OnQuestion::Fail]);
    (
        text(),
        turn(),
        text(),
        any::<u64>(),
        question,
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(session, turn, prompt, timeout_ms, on_question, [wait, events, texts])| Send {
                session,
                turn,
                prompt,
                timeout_ms,
                on_question,
                wait,
                events,
                texts,
            },
        )
}

/// Any request but those of later versions.
pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        new().prop_map(|new| Request::New(Box::new(new))),
        send().prop_map(|send| Request::Send(Box::new(send))),
        (text(), text(), any::<bool>(), any::<bool>()).prop_map(
            |(session, turn, events, texts)| Request::Result {
                session,
                turn,
                events,
                texts
            }
        ),
        Just(Request::List {}),
        text().prop_map(|session| Request::Show { session }),
        (vec(text(), 0..3), any::<bool>(), any::<u64>()).prop_map(|(sessions, all, grace_ms)| {
            Request::Kill {
                sessions,
                all,
                grace_ms,
            }
        }),
        (text(), any::<bool>(), option::of(env()), any::<u64>()).prop_map(
            |(session, fresh, env, start_timeout_ms)| Request::Restart {
                session,
                fresh,
                env,
                start_timeout_ms
            }
        ),
        (text(), turn()).prop_map(|(session, turn)| Request::Cancel { session, turn }),
        Just(Request::Status {}),
        any::<u64>().prop_map(|grace_ms| Request::Stop { grace_ms }),
    ]
}

fn report() -> impl Strategy<Value = TurnReport> {
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
    (what, how, numbers, agent).prop_map(|(what, how, numbers, agent)| {
        let (session, turn, outcome, answer, texts) = what;
        let (error, is_error, stop_reason, model) = how;
        let (usage, cost_usd, [duration_ms, ttft_ms, queued_ms]) = numbers;
        let (agent_session_id, permission_denials) = agent;
        TurnReport {
            session,
            turn,
            outcome,
            answer,
            texts,
            error,
            is_error,
            stop_reason,
            usage,
            cost_usd,
            duration_ms,
            ttft_ms,
            queued_ms,
            model,
            agent_session_id,
            permission_denials,
        }
    })
}

fn row() -> impl Strategy<Value = SessionRow> {
    let texts = (text(), some_text(), text(), text());
    (texts, uuid(), state(), any::<[u64; 5]>()).prop_map(
        |((name, detail, driver, cwd), id, state, [since, queue, turns, attached, idle_s])| {
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
                idle_s,
                cwd,
            }
        },
    )
}

fn detail() -> impl Strategy<Value = SessionDetail> {
    let agent = (uuid(), any::<[Option<u32>; 2]>(), some_text(), some_text());
    let sums = (
        option::of(usage()),
        option::of(any::<f64>()),
        option::of(failure()),
    );
    (row(), agent, sums).prop_map(|(row, agent, (usage, cost_usd, last_error))| {
        let (agent_session_id, [pid, holder_pid], agent_version, model) = agent;
        SessionDetail {
            row,
            agent_session_id,
            pid,
            holder_pid,
            agent_version,
            model,
            usage,
            cost_usd,
            last_error,
        }
    })
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
        status().prop_map(Reply::Status),
        Just(Reply::Done {}),
    ]
}

fn kind() -> impl Strategy<Value = EventKind> {
    let retry = (any::<(u32, u32, u64)>(), any::<Option<u16>>(), text());
    prop_oneof![
        any::<u64>().prop_map(|ahead| EventKind::Queued { ahead }),
        Just(EventKind::Accepted {}),
        (any::<u32>(), text()).prop_map(|(message, text)| EventKind::Text { message, text }),
        text().prop_map(|text| EventKind::Thinking { text }),
        (text(), json()).prop_map(|(name, input)| EventKind::Tool { name, input }),
        any::<bool>().prop_map(|is_error| EventKind::ToolResult { is_error }),
        (text(), json()).prop_map(|(tool, input)| EventKind::Question { tool, input }),
        (text(), text()).prop_map(|(tool, how)| EventKind::QuestionResolved { tool, how }),
        (text(), json()).prop_map(|(tool, input)| EventKind::Denied { tool, input }),
        retry.prop_map(
            |((attempt, max, delay_ms), status, error)| EventKind::Retry {
                attempt,
                max,
                delay_ms,
                status,
                error
            }
        ),
        json().prop_map(|info| EventKind::RateLimit { info }),
        text().prop_map(|reason| EventKind::Restart { reason }),
        outcome().prop_map(|outcome| EventKind::Result { outcome }),
        failure().prop_map(|error| EventKind::Error { error }),
        any::<u64>().prop_map(|missed| EventKind::Gap { missed }),
    ]
}

/// Any event but those of later versions.
pub fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), option::of(turn()), kind()).prop_map(|(seq, session, turn, kind)| {
        Event {
            seq,
            session,
            turn,
            kind,
        }
    })
}

/// Any frame of a client.
pub fn to_broker() -> impl Strategy<Value = ToBroker> {
    prop_oneof![
        1 => hello().prop_map(ToBroker::Hello),
        9 => (any::<u64>(), request())
            .prop_map(|(id, request)| ToBroker::Request { id, request: Box::new(request) }),
    ]
}

/// Any frame of a broker.
pub fn to_client() -> impl Strategy<Value = ToClient> {
    prop_oneof![
        1 => hello().prop_map(ToClient::Hello),
        1 => (any::<u64>(), failure()).prop_map(|(id, error)| ToClient::Error { id, error }),
        8 => (any::<u64>(), reply())
            .prop_map(|(id, reply)| ToClient::Reply { id, reply: Box::new(reply) }),
        12 => (any::<u64>(), event()).prop_map(|(id, event)| ToClient::Event { id, event }),
    ]
}
