//! A loopback Messages API with scripted answers, against which the real Claude Code is driven; and
//! a Responses API with the same answers, for the real Codex CLI ([`responses`]).
//!
//! # Starting it
//!
//! `unshare -n fake-api serve [--port N]` (as root; `unshare -rn` otherwise) brings `lo` up,
//! refuses to run where any other interface exists, listens on 127.0.0.1 and prints
//! `{"event":"listening","port":N,"pid":P}`. The harness lives in another network namespace, so
//! it steers by lines on standard input; the client is put beside the server with
//! `nsenter -t P -n` (root) or `nsenter -t P -U -n --preserve-credentials`. The server ends
//! with its input or its parent. `--no-namespace-check` leaves the network alone.
//!
//! `fake-api run [--claude PATH] [--trust DIR]... [--rules FILE] -- CMD ARG...` enters a new
//! namespace by itself, serves (control lines from FILE are obeyed first) and runs CMD with a
//! fresh `HOME` (mode 0700, onboarding done, the made-up key approved, each DIR trusted),
//! `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL`, `FAKE_API_PORT`, `CLAUDE_CODE_TMPDIR`,
//! `CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC`, `DISABLE_AUTOUPDATER`, and the client's folder
//! first in `PATH`. The caller's other `ANTHROPIC_`, `CLAUDE_`, `AWS_`, `XDG_` and proxy
//! variables are dropped. When CMD ends, what it left running is ended, the home is removed,
//! and CMD's code is the exit code (2 if it could not be started at all).
//!
//! # Control
//!
//! `{"id":1,"cmd":...}` is answered by `{"id":1,"ok":true,...}` or `{"id":1,"error":"..."}`.
//! Answers come in order, except those of the `wait_` commands, which come when it is so far
//! (`timeout_ms`, by default 30000, makes an error of it).
//!
//! | command | fields | answer |
//! |---|---|---|
//! | `rule` | `match` (substring or null), `respond` [STEP, ...], `once`, `repeat`, `kind` | `rule`, its number |
//! | `rules_clear` | | |
//! | `requests` | `since` | `requests` [record, ...], `next` |
//! | `wait_requests` | `count`, `kind`, `since`, `finished`, `timeout_ms` | `seen` |
//! | `body` | `index`, `text` | `body`, the whole JSON; with `text` as it came, in a string |
//! | `wait_hold` | `name`, `count`, `timeout_ms` | `waiting`, the streams at that hold now |
//! | `release` | `name` | `released`, how many went on; later ones stop again |
//! | `provider` | `ca` and `others`, files | `port` of a proxy that is every host itself ([`provider`]) |
//! | `stats` | | `connections` (open), `requests`, `by_kind`, `held` (names) |
//! | `quit` | | |
//!
//! A record has `index`, `at_ms`, `first_ms` and `done_ms` (Unix time), `path`, `headers`, `kind`
//! (`main`, `side`, `count`, `subagent`), `model`, `max_tokens`, `stream`, `tools`, `prompt`
//! (the user's words as [`turn`] finds them), `last_user_texts` (all texts of the prompt's
//! message), `said_after` (texts steered in later, and continuations), `messages` (their number),
//! `messages_summary` (the last ones), `body_bytes`, `answered_by` (`default`, `side`, `count`,
//! `rule N step M`) and `outcome`: `open`, then `completed`, `client_gone`, `cut`, `error N` or
//! `error event`. Bodies and texts are kept for the last 500 requests or 512 MB; older records
//! say `body_dropped`.
//!
//! # Rules
//!
//! The newest rule whose `match` occurs in the prompt takes a turn. The first request of the turn
//! gets its first STEP, the next request of the **same turn** the next one, whatever made the
//! client ask again: tool results, a continuation after `max_tokens` or `refusal`, a retry after
//! an error or a cut, the fallback without streaming, a resume of the interrupted turn. When the
//! steps run out, `repeat` repeats the last, else the default answer follows. A `once` rule takes
//! one turn only. How turns are told apart is said in [`turn`]. `kind` is `main`, `subagent`, or
//! `notification`: a turn the client begins by itself when a background task ends. Prompts that
//! the client merged into one turn match by the last of them.
//!
//! Without a rule the answer is `you said: ` and the prompt's first 200 characters; a prompt that
//! begins with `recall` gets the first 40 characters of each earlier prompt, one per line.
//! Titles, probes and requests for a summary (`/compact`) are `side` and take no steps.
//!
//! A STEP has exactly one of
//! - `text`, or `repeat_text` `{"text","times"}`;
//! - `blocks`: a list of `{"text"}`, `{"repeat_text"}`, `{"thinking"}`,
//!   `{"tool":{"name","input","id"}}`, and `{"hold":"name"}` for a pause between two blocks;
//! - `raw`: what is sent as the answer's body, as it is;
//! - `status` (400 to 599), with `error_type`, `message`;
//!
//! and may have `headers`, `stop_reason`, `delta_bytes` (by default 16, above 64 KiB 4096; a
//! character is never split), `piece_bytes` (the most that the connection gets at once),
//! `first_delay_ms`, `delay_ms` (after each text delta), `hold` with
//! `hold_after`, `cut_after`, `error_after` (counted in text deltas over the whole message, 0 is
//! before the first block; more than there are is at the end). Answers claim 20000 tokens at
//! most, because the client compacts a conversation that claims too many.
//!
//! Worth knowing: after a `status` 400 the client asks again, six times in different ways, so an
//! error that is to last needs `repeat`; tool results come back in the order in which the calls
//! ended.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::cli::{Cli, USAGE};
use crate::control::Output;
use crate::state::State;

mod answer;
mod cli;
mod control;
mod home;
mod log;
mod namespace;
mod plan;
mod play;
mod provider;
mod responses;
mod rules;
mod run;
mod server;
mod sse;
mod state;
mod step;
mod turn;
mod wire;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match cli::parse(&args) {
        Ok(Cli::Help) => {
            println!("{USAGE}");
            Ok(0)
        }
        Ok(Cli::Serve { port, anywhere }) => on_one_thread(serve(port, anywhere)),
        Ok(Cli::Run(_)) => Err(enter(&args)),
        Ok(Cli::RunInside(run)) => on_one_thread(run::run(&run)),
        Err(error) => Err(format!("{error}\n{USAGE}")),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("fake-api: {error}");
            ExitCode::from(2)
        }
    }
}

/// Becomes `run-inside` with the same arguments in a new namespace.
fn enter(args: &[String]) -> String {
    let mut args = args.to_vec();
    "run-inside".clone_into(&mut args[0]);
    match std::env::current_exe() {
        Ok(program) => namespace::enter(&program, &args),
        Err(error) => error.to_string(),
    }
}

/// Runs a future on a runtime of one thread.
fn on_one_thread(work: impl Future<Output = Result<u8, String>>) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, work)
}

async fn serve(port: u16, anywhere: bool) -> Result<u8, String> {
    if !anywhere {
        namespace::check()?;
        namespace::loopback_up()?;
    }
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
    let port = listener
        .local_addr()
        .map_err(|error| error.to_string())?
        .port();
    let state = State::new();
    let (output, writer) = Output::start();
    output.line(&json!({"event": "listening", "port": port, "pid": std::process::id()}));
    tokio::task::spawn_local(server::serve(listener, Rc::clone(&state)));
    tokio::select! {
        () = control::obey(control::read_lines(), &state, &output) => {}
        () = parent_gone() => {}
    }
    output.end();
    // It cannot panic, and there would be nothing left to do if it did.
    let _ = writer.join();
    Ok(0)
}

/// Ends when the parent does. (A parent-death signal would follow the parent's thread, which in
/// a test harness ends early.)
async fn parent_gone() {
    let parent = nix::unistd::getppid();
    while nix::unistd::getppid() == parent {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
