//! One file for each verb.

mod broker;
mod kill;
mod ls;
mod new;
mod restart;
mod result;
mod send;
mod show;
mod turn;
mod version;

use std::future::Future;

use clsess_proto::{ErrorCode, Failure};

use crate::cli::{Cli, Command, Format};
use crate::output::Output;
use crate::surroundings::Surroundings;

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
            Self::Broker(broker) => matches!(broker.command, B::Status { json: true }),
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
        Command::New(new) => wait(new::run(new, surroundings)),
        Command::Send(send) => wait(send::run(send, surroundings, output)),
        Command::Result(result) => wait(result::run(result, surroundings, output)),
        Command::Ls(ls) => wait(ls::run(ls, surroundings)),
        Command::Show(show) => wait(show::run(show, surroundings)),
        Command::Kill(kill) => wait(kill::run(kill, surroundings, output)),
        Command::Restart(restart) => wait(restart::run(restart, surroundings)),
        Command::Version(version) => wait(version::run(&version, surroundings)),
    };
    done.unwrap_or_else(|failure| output.fail(&failure))
}

/// Runs a verb on a runtime of this thread.
fn wait(verb: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
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
fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
