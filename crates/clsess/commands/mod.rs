//! One file for each verb.

mod answer;
mod attach;
mod broker;
mod complete;
mod doctor;
mod editor;
mod events;
mod hook;
mod interrupt;
mod kill;
mod log;
mod ls;
mod new;
mod pipe;
mod questions;
mod queue;
mod rename;
mod restart;
mod result;
mod screen;
mod send;
mod show;
mod turn;
mod version;
mod wait;

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};

use clsess_proto::{ErrorCode, Failure};

use crate::cli::{Cli, Command, Format};
use crate::output::{Output, say};
use clsess_client::surroundings::Surroundings;

impl Command {
    /// Whether errors are wanted as JSON too.
    #[must_use]
    pub fn wants_json(&self) -> bool {
        use crate::cli::BrokerCommand as B;
        match self {
            Self::New(new) => new.json,
            Self::Send(send) => send.output.output != Format::Text,
            Self::Result(result) => result.output.output != Format::Text,
            Self::Ls(ls) => ls.json,
            Self::Show(show) => show.json,
            Self::Kill(kill) => kill.json,
            Self::Wait(wait) => wait.json,
            Self::Log(log) => log.json,
            Self::Events(events) => !events.sse,
            Self::Queue(queue) => queue.json,
            Self::Questions(questions) => questions.json,
            Self::Approve(approve) => approve.json,
            Self::Deny(deny) => deny.json,
            Self::Answer(answer) => answer.json,
            // Its errors are lines of its own.
            Self::Pipe(_) => false,
            Self::Interrupt(_) | Self::Rename(_) => false,
            Self::Attach(_) | Self::Capture(_) | Self::Type(_) | Self::Keys(_) => false,
            Self::Broker(broker) => matches!(broker.command, B::Status { json: true }),
            Self::Doctor(doctor) => doctor.json,
            Self::Completions(_) => false,
            Self::Version(version) => version.json,
            Self::Restart(restart) => restart.json,
        }
    }
}

/// Does what the command line says; the exit code.
#[must_use]
pub fn run(cli: Cli, surroundings: &Surroundings, output: &Output) -> u8 {
    let done = match cli.command {
        // It forks, so there must be no runtime yet.
        Command::Broker(broker) => {
            broker::run(&broker.command, cli.global.verbose, surroundings, output)
        }
        Command::New(new) => wait_for(new::run(new, surroundings)),
        Command::Send(send) => wait_for(send::run(send, surroundings, output)),
        Command::Pipe(pipe) => wait_for(pipe::run(pipe, surroundings, output)),
        Command::Result(result) => wait_for(result::run(result, surroundings, output)),
        Command::Ls(ls) => wait_for(ls::run(ls, surroundings)),
        Command::Show(show) => wait_for(show::run(show, surroundings)),
        Command::Attach(attach) => wait_for(attach::run(attach, surroundings)),
        Command::Capture(capture) => wait_for(screen::capture(capture, surroundings)),
        Command::Type(typed) => wait_for(screen::type_in(typed, surroundings)),
        Command::Keys(keys) => wait_for(screen::keys(keys, surroundings)),
        Command::Wait(options) => wait_for(wait::run(options, surroundings)),
        Command::Log(log) => wait_for(log::run(log, surroundings)),
        Command::Events(events) => wait_for(events::run(events, surroundings)),
        Command::Queue(queue) => wait_for(queue::run(queue, surroundings, output)),
        Command::Interrupt(interrupt) => wait_for(interrupt::run(interrupt, surroundings, output)),
        Command::Questions(questions) => wait_for(questions::run(questions, surroundings)),
        Command::Approve(approve) => wait_for(answer::approve(approve, surroundings, output)),
        Command::Deny(deny) => wait_for(answer::deny(deny, surroundings, output)),
        Command::Answer(answer) => wait_for(answer::answer(answer, surroundings, output)),
        Command::Rename(rename) => wait_for(rename::run(rename, surroundings)),
        Command::Kill(kill) => wait_for(kill::run(kill, surroundings, output)),
        Command::Restart(restart) => wait_for(restart::run(restart, surroundings)),
        Command::Doctor(doctor) => wait_for(doctor::run(&doctor, surroundings, output)),
        Command::Completions(completions) => {
            complete::script(&completions);
            Ok(0)
        }
        Command::Version(version) => wait_for(version::run(&version, surroundings)),
    };
    done.unwrap_or_else(|failure| output.fail(&failure))
}

/// `clsess broker take-over`, which only a broker starts: see [`broker::take_over`].
#[must_use]
pub fn take_over() -> u8 {
    broker::take_over().unwrap_or_else(|failure| {
        // A line: the broker tells it to whoever wanted this.
        say(&format!("clsess: {}\n", failure.message));
        failure.code.exit()
    })
}

/// `clsess hook`, which only an agent starts: see [`mod@hook`].
#[must_use]
pub fn hook(words: impl Iterator<Item = OsString>) -> u8 {
    let told = hook::Door::named(words).and_then(|door| wait_for(door.tell()));
    told.unwrap_or_else(|failure| {
        // The agent shows it, and goes on: 2 would mean that it must not.
        let _ = writeln!(io::stderr(), "clsess: {}", failure.message);
        1
    })
}

/// `clsess editor`, which only an agent's interface starts: see [`mod@editor`].
#[must_use]
pub fn editor(files: impl Iterator<Item = OsString>) -> u8 {
    wait_for(editor::edit(files.collect())).unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr(), "clsess: {}", failure.message);
        1
    })
}

/// `clsess complete`, which only a shell's completions start: see [`mod@complete`].
pub fn complete(words: impl Iterator<Item = OsString>) {
    complete::complete(words);
}

/// Runs a verb on a runtime of this thread.
fn wait_for<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(verb);
            // A thread that writes to a terminal which takes nothing is not waited for.
            runtime.shutdown_background();
            done
        }
        Err(e) => Err(Failure::new(
            ErrorCode::Internal,
            format!("no runtime: {e}"),
        )),
    }
}

/// A duration for the wire.
#[must_use]
pub fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
