//! `clsess queue`.

use clsess_proto::{Failure, QueuedTurn, Reply, Request, TurnId};
use serde_json::json;

use crate::cli::{Queue, QueueCommand};
use crate::client::{Client, Start, unexpected};
use crate::output::{Output, brief_text, print, print_json, table};
use crate::surroundings::Surroundings;

pub async fn run(
    queue: Queue,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    let session = queue.name;
    let removes = |turn| Request::QueueRemove {
        session: session.clone(),
        turn,
    };
    let request = match queue.command {
        None | Some(QueueCommand::Ls) => Request::Queue { session },
        Some(QueueCommand::Rm { turn }) => removes(Some(turn)),
        Some(QueueCommand::Clear) => removes(None),
        Some(QueueCommand::Run) => Request::QueueRun { session },
    };
    match client.call(request).await? {
        Reply::Queue { turns } if queue.json => print_json(&json!({ "turns": turns })),
        Reply::Queue { turns } => list(&turns),
        Reply::Removed { turns } if queue.json => print_json(&json!({ "removed": turns })),
        Reply::Removed { turns } if !output.quiet => removed(&turns),
        Reply::Removed { .. } | Reply::Done {} => {}
        other => return Err(unexpected(&other)),
    }
    Ok(0)
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
