//! What clients ask for.

use clsess_proto::{Attach, Hooks, New, Program, Request, Send, Settings, TerminalModes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{any_of, some_text, text, turn, uuid};

type Env = Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>;

fn bytes() -> impl Strategy<Value = serde_bytes::ByteBuf> {
    vec(any::<u8>(), 0..6).prop_map(serde_bytes::ByteBuf::from)
}

fn env() -> impl Strategy<Value = Env> {
    vec((bytes(), bytes()), 0..3)
}

fn program() -> impl Strategy<Value = Program> {
    let terminal = any::<(u16, u16, Option<u32>)>();
    (vec(bytes(), 0..3), terminal).prop_map(|(args, (rows, cols, scrollback))| Program {
        args,
        rows,
        cols,
        scrollback,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let texts = [(); 6].map(|()| some_text());
    let lists = [(); 4].map(|()| vec(text(), 0..3));
    let counts = any::<[Option<u32>; 3]>();
    let times = any::<[Option<u64>; 3]>();
    let hooks = ([(); 4].map(|()| some_text()), any::<Option<u64>>());
    let hooks = hooks.prop_map(|([question, done, failed, exited], timeout_ms)| Hooks {
        question,
        done,
        failed,
        exited,
        timeout_ms,
    });
    let flags = (
        any::<[bool; 2]>(),
        (option::of(any_of()), option::of(any_of())),
        hooks,
    );
    (texts, lists, counts, times, flags).prop_map(
        |(
            texts,
            [command, agent_args, env_forget, allow_from],
            counts,
            times,
            ([resume_queue, pty], (driver, tap), hooks),
        )| {
            let [question_timeout_ms, stall_after_ms, idle_sleep_ms] = times;
            let [max_turns, history, max_warm] = counts;
            let [
                model,
                permission_mode,
                system_prompt,
                append_system_prompt,
                agent,
                agent_path,
            ] = texts;
            Settings {
                driver,
                command,
                pty,
                tap,
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
                allow_from,
                question_timeout_ms,
                stall_after_ms,
                resume_queue,
                idle_sleep_ms,
                max_warm,
                hooks,
            }
        },
    )
}

fn new() -> impl Strategy<Value = New> {
    let flags = any::<[bool; 4]>();
    (
        some_text(),
        text(),
        env(),
        (settings(), option::of(program())),
        [option::of(uuid()), option::of(uuid())],
        flags,
        any::<(u64, Option<u32>)>(),
    )
        .prop_map(
            |(
                name,
                cwd,
                env,
                (settings, program),
                [id, resume],
                flags,
                (start_timeout_ms, umask),
            )| New {
                id,
                name,
                cwd,
                env,
                settings,
                program,
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
    let what = (text(), turn(), text());
    let policies = (any_of(), any_of(), any_of(), any_of());
    (what, any::<[u64; 2]>(), policies, any::<[bool; 4]>()).prop_map(
        |(what, [timeout_ms, deadline_ms], policies, [again, wait, events, texts])| {
            let (session, turn, prompt) = what;
            let (on_busy, on_question, on_limit, on_crash) = policies;
            Send {
                session,
                turn,
                prompt,
                timeout_ms,
                deadline_ms,
                on_busy,
                on_question,
                on_limit,
                on_crash,
                wait,
                events,
                texts,
                again,
            }
        },
    )
}

fn of_the_queue() -> impl Strategy<Value = Request> {
    prop_oneof![
        text().prop_map(|session| Request::Interrupt { session }),
        (
            vec(text(), 0..3),
            any_of(),
            any::<bool>(),
            vec(super::replies::row(), 0..2)
        )
            .prop_map(|(sessions, until, any, seen)| Request::Wait {
                sessions,
                until,
                any,
                seen,
            }),
        text().prop_map(|session| Request::Queue { session }),
        (text(), some_text()).prop_map(|(session, turn)| Request::QueueRemove { session, turn }),
        text().prop_map(|session| Request::QueueRun { session }),
        (
            text(),
            some_text(),
            option::of(turn()),
            any::<Option<u64>>()
        )
            .prop_map(|(session, turn, after, last)| Request::Log {
                session,
                turn,
                after,
                last
            }),
        (text(), text()).prop_map(|(session, name)| Request::Rename { session, name }),
        (vec(text(), 0..3), any::<Option<u64>>())
            .prop_map(|(sessions, since)| Request::Events { sessions, since }),
    ]
}

fn of_questions() -> impl Strategy<Value = Request> {
    prop_oneof![
        some_text().prop_map(|session| Request::Questions { session }),
        (text(), some_text(), any::<bool>()).prop_map(|(session, question, always)| {
            Request::Approve {
                session,
                question,
                always,
            }
        }),
        (text(), some_text(), some_text()).prop_map(|(session, question, message)| {
            Request::Deny {
                session,
                question,
                message,
            }
        }),
        (text(), some_text(), vec(text(), 0..3)).prop_map(|(session, question, texts)| {
            Request::Answer {
                session,
                question,
                texts,
            }
        }),
    ]
}

fn modes() -> impl Strategy<Value = TerminalModes> {
    (any::<[u32; 4]>(), bytes()).prop_map(|([input, output, control, local], characters)| {
        TerminalModes {
            input,
            output,
            control,
            local,
            characters,
        }
    })
}

fn attach() -> impl Strategy<Value = Attach> {
    let how = (
        any::<[bool; 3]>(),
        some_text(),
        option::of(modes()),
        any::<u32>(),
    );
    (text(), uuid(), how).prop_map(
        |(session, viewer, ([read_only, exclusive, anyway], detach_keys, modes, recall))| Attach {
            session,
            viewer,
            read_only,
            exclusive,
            anyway,
            detach_keys,
            recall,
            modes,
        },
    )
}

fn of_terminals() -> impl Strategy<Value = Request> {
    prop_oneof![
        attach().prop_map(|attach| Request::Attach(Box::new(attach))),
        (text(), uuid()).prop_map(|(session, viewer)| Request::Resized { session, viewer }),
        (text(), option::of(uuid()))
            .prop_map(|(session, viewer)| Request::Detach { session, viewer }),
        (text(), any::<bool>(), any::<u32>()).prop_map(|(session, ansi, history)| {
            Request::Capture {
                session,
                ansi,
                history,
            }
        }),
        (text(), bytes()).prop_map(|(session, input)| Request::Type { session, input }),
        (text(), vec(text(), 0..3)).prop_map(|(session, keys)| Request::Keys { session, keys }),
        (uuid(), bytes()).prop_map(|(id, input)| Request::Hook { id, input }),
        bytes().prop_map(|text| Request::Edit { text }),
    ]
}

/// Any request but those of later versions.
pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        8 => of_the_queue(),
        4 => of_questions(),
        7 => of_terminals(),
        11 => of_sessions(),
    ]
}

fn of_sessions() -> impl Strategy<Value = Request> {
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
        (bytes(), text(), any::<bool>(), any::<bool>()).prop_map(
            |(program, version, force, unasked)| Request::Upgrade {
                program,
                version,
                force,
                unasked
            }
        ),
    ]
}
