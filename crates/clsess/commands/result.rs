//! `clsess result`.

use clsess_proto::{ErrorCode, Failure, Reply, Request, TurnId};

use super::turn::Printer;
use crate::cli::ResultOf;
use crate::output::Output;
use crate::signals::Signals;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(
    result: ResultOf,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    // The next broker may have another session of this name, and another turn that is the last.
    let session = link.id_of_any(&result.name).await?;
    let turn = meant(&mut link, &session, result.turn).await?;
    let mut printer = Printer::new(result.output, output);
    printer.follows(turn);
    let mut signals =
        Signals::catch().map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    loop {
        let request = Request::Result {
            session: session.clone(),
            turn: turn.to_string(),
            events: printer.wants_events(),
            texts: printer.wants_texts(),
        };
        let followed = async {
            let id = link.client().ask(request).await?;
            printer.follow(link.client(), id).await
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
            same = link.find_again(failure) => printer.told_again(same?),
            code = signals.next() => return Ok(code),
        }
    }
}

/// The turn's whole id.
async fn meant(link: &mut Link, session: &str, selector: String) -> Result<TurnId, Failure> {
    if let Ok(turn) = selector.parse() {
        return Ok(turn);
    }
    let request = Request::Log {
        session: session.to_owned(),
        turn: Some(selector.clone()),
        after: None,
        last: None,
    };
    match link.call(request).await? {
        Reply::Log { turns, .. } => turns.first().map(|entry| entry.turn).ok_or_else(|| {
            let message = format!("there is no turn {selector}");
            Failure::new(ErrorCode::NoSuchTurn, message)
        }),
        other => Err(unexpected(&other)),
    }
}
