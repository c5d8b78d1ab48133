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
    let mut signals = Signals::catch()
        .map_err(|e| Failure::new(clsess_proto::ErrorCode::Internal, e.to_string()))?;
    loop {
        let request = Request::Result {
            session: result.name.clone(),
            // The last turn may be another one by now.
            turn: match printer.turn() {
                Some(turn) => turn.to_string(),
                None => result.turn.clone(),
            },
            events: printer.wants_events(),
            texts: printer.wants_texts(),
        };
        let followed = async {
            let id = client.ask(request).await?;
            printer.follow(&mut client, id).await
        };
        // Somebody else's turn: whoever leaves here only stops looking.
        let failure = tokio::select! {
            followed = followed => match followed {
                Ok(code) => return Ok(code),
                Err(failure) => failure,
            },
            code = signals.next() => return Ok(code),
        };
        tokio::select! {
            same = client.again(surroundings, Start::IfMissing, failure) => printer.told_again(same?),
            code = signals.next() => return Ok(code),
        }
    }
}
