//! `clsess result`.

use clsess_proto::{Failure, Request};

use super::turn::Printer;
use crate::cli::ResultOf;
use crate::client::{Client, Start};
use crate::output::Output;
use crate::signals::Signals;
use crate::surroundings::Surroundings;

pub async fn run(
    result: ResultOf,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    let mut printer = Printer::new(result.output, output);
    let id = client
        .ask(Request::Result {
            session: result.name,
            turn: result.turn,
            events: printer.wants_events(),
            texts: printer.wants_texts(),
        })
        .await?;
    let mut signals = Signals::catch()
        .map_err(|e| Failure::new(clsess_proto::ErrorCode::Internal, e.to_string()))?;
    // Somebody else's turn: whoever leaves here only stops looking.
    tokio::select! {
        code = printer.follow(&mut client, id) => code,
        code = signals.next() => Ok(code),
    }
}
