//! Measures clsess beside what it stands on, side by side in one run.
//!
//! `make bench` builds it and writes `bench-out/bench.md` and `.json`. Without an account and
//! without a network: it runs itself again under `fake-api run`, where the real Claude Code
//! answers from a loopback Messages API that has no delay.
//!
//! Whatever is compared takes turns in random order (`--seed` repeats an order), so that what else
//! the machine does meets both. The time of a command is that of the whole process, from before
//! it is started until it has been waited for, its stdout read from a pipe. Numbers are medians;
//! the interval says where 95 of 100 such runs would put the difference or ratio, and "in pairs"
//! is the median of the differences or ratios of neighbours, which minds a busy machine less.
//! A verdict is unsure when the interval holds the bar: then one run decides nothing.
//!
//! | row | what is compared |
//! |---|---|
//! | send | `clsess send NAME PROMPT` with the same prompt written by this program to the input of a client of its own, until it says that it is idle. Both clients are warm, have the same arguments and have had the same turns |
//! | cold | `claude -p PROMPT` with `clsess send` |
//! | ls | `clsess ls` with `tmux ls`, for 1, for 50 and for 200 sessions; of the 200 nearly all sleep |
//! | wake | `clsess send` to a session that sleeps, the whole process, with the same prompt to a conversation of the same length: `claude -p --resume`, the whole process, and a client that this program resumes with the prompt already written, until its `result` line |
//! | memory | the broker with 200 sessions and `max_warm = 4`, all asleep, and after 8 were used, with all agents that are left |
//! | new | `clsess new` with a client that this program starts, until it has answered `initialize` |
//! | tui | `clsess send` to a session of `--driver tui`, the whole process, with the same prompt pasted and entered by this program in the terminal of an interface of its own, until that one's `Stop` hook has told this program. Both interfaces are warm, have the same arguments, hooks for the same events and have had the same turns; the hooks of the one alone tell nobody else |
//! | attach | `clsess attach` on a stream session at rest with `claude --resume` in a terminal of the same size, each from its start until the screen shows the last answer of the conversation, which has had one turn |
//! | once | `clsess send` to a session of `--driver oneshot`, a second after its last turn, with `claude -p --resume` and with `clsess send` to a stream session, each the whole process, for conversations that have had the same turns |
//! | wire | `clsess send` to a session whose agent is read by a tap, with one to a session without, at the same provider: by its own name (by a proxy and TLS), and by its URL; with one child, and with an interface. And with an interface, from when the first words of an answer left the provider until `clsess send --stream always` has written them, as this program reads them |
//! | death | a broker with five sessions at rest, from its `kill -9` until another one has answered |
//! | idle | what the broker and a holder do in ten seconds in which nobody asks for anything |

mod children;
mod direct;
mod idle;
mod interface;
mod machine;
mod measure;
mod report;
mod stats;
mod terminal;
mod wire;
mod world;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::measure::Task;

/// Measures clsess beside the client alone and tmux
#[derive(Debug, Parser)]
struct Cli {
    /// A few samples of each, to see that it works
    #[arg(long)]
    quick: bool,
    /// Only some of it
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Task>,
    /// The order of what is measured
    #[arg(long)]
    seed: Option<u64>,
    /// Write all samples to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The command to measure (default: the one beside this program)
    #[arg(long, value_name = "PATH")]
    clsess: Option<PathBuf>,
}

fn main() -> ExitCode {
    // So interfaces start their hooks: what they cost is in what is measured.
    let mut words = std::env::args_os().skip(1);
    if let (Some(word), Some(socket)) = (words.next(), words.next())
        && word == interface::HOOK
    {
        return match interface::hook(Path::new(&socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let cli = Cli::parse();
    let inside = std::env::var_os("FAKE_API_PORT").is_some();
    let done = if inside { bench(&cli) } else { enter() };
    let asked = children::exit_code();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if asked > 1 => ExitCode::from(asked),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes `fake-api run` of this program with the same arguments.
fn enter() -> Result<()> {
    let this = std::env::current_exe()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../install-claude");
    let installed = Command::new(script).output().context(script)?;
    ensure!(
        installed.status.success(),
        "the real client cannot be had: {}",
        String::from_utf8_lossy(&installed.stderr).trim()
    );
    let claude = String::from_utf8(installed.stdout)?;
    let error = Command::new(beside(&this, "fake-api")?)
        .args(["run", "--claude", claude.trim(), "--"])
        .arg(&this)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("fake-api")
}

/// A program in the same directory.
pub fn beside(this: &Path, name: &str) -> Result<PathBuf> {
    let program = this.with_file_name(name);
    ensure!(
        program.is_file(),
        "{} is missing; `make bench` builds it",
        program.display()
    );
    Ok(program)
}

fn bench(cli: &Cli) -> Result<()> {
    let clsess = match &cli.clsess {
        Some(path) => path.canonicalize().context(path.display().to_string())?,
        None => beside(&std::env::current_exe()?, "clsess")?,
    };
    let seed = cli.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    });
    children::guard()?;
    let measured = measure::run_all(clsess, seed, cli.quick, &cli.only)?;
    print!("{}", report::markdown(&measured));
    if let Some(file) = &cli.json {
        std::fs::write(file, report::json(&measured))
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}
