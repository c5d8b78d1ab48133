//! clsess: named warm Claude Code sessions.

mod activation;
mod cli;
mod client;
mod commands;
mod config;
mod link;
mod live;
mod output;
mod progress;
mod prompt;
mod reach;
mod signals;
mod stdout;
mod surroundings;
mod telling;
mod upgrade;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::output::Output;
use crate::surroundings::Surroundings;

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
    // And agents their hooks so: they wait for it.
    if words.0.as_ref().is_some_and(|word| word == "hook") {
        std::process::exit(i32::from(commands::hook(std::env::args_os().skip(2))));
    }
    let cli = parse();
    let output = Output::new(&cli.global, cli.command.wants_json());
    let code = match Surroundings::find(&cli.global) {
        Ok(surroundings) => commands::run(cli, &surroundings, &output),
        Err(failure) => output.fail(&failure),
    };
    // Not by returning: a thread may still be writing to a terminal that does not
    // take anything.
    std::process::exit(i32::from(code))
}

/// Parses the command line. A variable that is set but empty counts as unset.
fn parse() -> Cli {
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
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}
