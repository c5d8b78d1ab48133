//! clsess: named warm Claude Code sessions.

mod activation;
mod cli;
mod commands;
mod config;
mod line;
mod live;
mod output;
mod progress;
mod prompt;
mod signals;
mod stdout;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use clsess_client::surroundings::{Named, Surroundings};
use clsess_proto::{ErrorCode, Failure};

use crate::cli::Cli;
use crate::output::Output;

fn main() -> ExitCode {
    // The broker starts its holders as `clsess holder`; they need nothing else of
    // this program, and nothing of it may run before.
    let mut words = std::env::args_os().skip(1);
    let words = (words.next(), words.next());
    if words.0.as_ref().is_some_and(|word| word == "holder") {
        return ExitCode::from(u8::try_from(clsess_holder::run()).unwrap_or(1));
    }
    // And its successor so: what it is to know is not on the command line.
    if let (Some(verb), Some(word)) = &words
        && verb == "broker"
        && word == "take-over"
    {
        std::process::exit(i32::from(commands::take_over()));
    }
    // And agents their hooks and their editor so: they wait for it.
    if words.0.as_ref().is_some_and(|word| word == "hook") {
        std::process::exit(i32::from(commands::hook(std::env::args_os().skip(2))));
    }
    if words.0.as_ref().is_some_and(|word| word == "editor") {
        std::process::exit(i32::from(commands::editor(std::env::args_os().skip(2))));
    }
    // And shells this, when somebody presses the Tab key.
    if words.0.as_ref().is_some_and(|word| word == "complete") {
        commands::complete(std::env::args_os().skip(2));
        std::process::exit(0);
    }
    let cli = parse();
    let output = Output::new(&cli.global, cli.command.wants_json());
    let code = match surroundings(&cli.global) {
        Ok(surroundings) => commands::run(cli, &surroundings, &output),
        Err(failure) => output.fail(&failure),
    };
    // Not by returning: a thread may still be writing to a terminal that does not
    // take anything.
    std::process::exit(i32::from(code))
}

/// Where things are, by the command line. This program is the broker where there is none, and in place of an
/// older one, which is said.
fn surroundings(global: &cli::Global) -> Result<Surroundings, Failure> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(ErrorCode::Internal, format!("where this program is: {e}")))?;
    let found = Surroundings::find(Named {
        label: Some(global.label.clone()),
        socket: global.socket.clone(),
        config: global.config.clone(),
        program: Some(program),
    })?;
    let notes: fn(&str) = |text| output::say(&format!("clsess: {text}\n"));
    Ok(Surroundings {
        upgrades: true,
        notes: (!global.quiet).then_some(notes),
        ..found
    })
}

fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line's definition. A variable that is set but empty counts as unset.
fn command() -> clap::Command {
    let mut command = Cli::command();
    for (option, variable) in [
        ("socket", "CLSESS_SOCKET"),
        ("label", "CLSESS_LABEL"),
        ("config", "CLSESS_CONFIG"),
    ] {
        if std::env::var_os(variable).is_some_and(|value| value.is_empty()) {
            command = command.mut_arg(option, |arg| arg.env(None));
        }
    }
    command
}
