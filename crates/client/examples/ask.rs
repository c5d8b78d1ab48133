//! Asks a session something, and shows what happens meanwhile on stderr:
//!
//!     cargo run -p clsess-client --example ask -- DIRECTORY SESSION PROMPT...

use std::process::ExitCode;

use clsess_client::{Clsess, EventKind, Failure, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(directory), Some(session)) = (words.next(), words.next()) else {
        eprintln!("ask DIRECTORY SESSION PROMPT...");
        return ExitCode::from(2);
    };
    let prompt = words.collect::<Vec<_>>().join(" ");
    match ask(&directory, &session, &prompt).await {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.code.exit())
        }
    }
}

async fn ask(directory: &str, session: &str, prompt: &str) -> Result<String, Failure> {
    let mut clsess = Clsess::connect().await?;
    let new = clsess.new_session(directory).named(session).or_existing();
    clsess.make(new).await?;

    let mut send = clsess.prompt(session, prompt);
    send.events = true;
    let report = clsess.turn(send, |event| match event.kind {
        EventKind::Text { text, .. } => eprint!("{text}"),
        EventKind::Tool { name, .. } => eprintln!("[{name}]"),
        _ => {}
    });
    let report = report.await?;
    match (report.outcome, report.error) {
        (Outcome::Completed, _) => Ok(report.answer.unwrap_or_default()),
        (_, Some(error)) => Err(error),
        (outcome, None) => unreachable!("{outcome:?} has its reason"),
    }
}
