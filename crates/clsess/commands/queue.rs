//! `clsess queue`.

use clsess_proto::{Failure, QueuedTurn, Reply, Request, TurnId};
use serde_json::json;

use crate::cli::{Queue, QueueCommand};
use crate::output::{Output, brief_text, print, print_json, table};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(
    queue: Queue,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let session = link.id_of(&queue.name).await?;
    let removes = |turn| Request::QueueRemove {
        session: session.clone(),
        turn,
    };
    let ls = Request::Queue {
        session: session.clone(),
    };
    let request = match queue.command {
        None | Some(QueueCommand::Ls) => ls,
        Some(QueueCommand::Rm { turn }) => match link.call(ls).await? {
            Reply::Queue { turns } => removes(Some(meant(turn, &turns))),
            other => return Err(unexpected(&other)),
        },
        Some(QueueCommand::Clear) => removes(None),
        Some(QueueCommand::Run) => Request::QueueRun { session },
    };
    match link.call(request).await? {
        Reply::Queue { turns } if queue.json => print_json(&json!({ "turns": turns })),
        Reply::Queue { turns } => list(&turns),
        Reply::Removed { turns } if queue.json => print_json(&json!({ "removed": turns })),
        Reply::Removed { turns } if !output.quiet => removed(&turns),
        Reply::Removed { .. } | Reply::Done {} => {}
        other => return Err(unexpected(&other)),
    }
    Ok(0)
}

/// A list that is as long as one can be may not have all of them.
const ALL: usize = 1000;

/// The turn's whole id, where it is one of those that wait: the same one is meant when this has
/// to be asked twice.
fn meant(wanted: String, waiting: &[QueuedTurn]) -> String {
    let back = wanted.strip_prefix('-');
    let turn = match back.map(str::parse::<usize>) {
        Some(Ok(_)) if waiting.len() >= ALL => None,
        Some(Ok(back)) => waiting.iter().rev().nth(back.wrapping_sub(1)),
        _ => {
            let mut found = waiting
                .iter()
                .filter(|it| wanted.len() >= 4 && it.turn.to_string().starts_with(&wanted));
            found.next().filter(|_| found.next().is_none())
        }
    };
    turn.map_or(wanted, |it| it.turn.to_string())
}

fn list(turns: &[QueuedTurn]) {
    let row = |turn: &QueuedTurn| {
        let why = turn.waiting.as_ref();
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        vec![turn.turn.to_string(), brief_text(&turn.prompt) + &why]
    };
    let rows: Vec<Vec<String>> = turns.iter().map(row).collect();
    print(&table(&rows));
}

fn removed(turns: &[TurnId]) {
    let lines: String = turns.iter().map(|turn| format!("{turn}\n")).collect();
    print(&lines);
}
