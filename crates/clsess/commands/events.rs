//! `clsess events`.

use clsess_proto::{ErrorCode, Event, EventKind, Failure, Reply, Request};

use crate::cli::Events;
use crate::client::{Client, Incoming, Start, unexpected};
use crate::link::{Link, ids};
use crate::output::{cannot_print, json_line, print};
use crate::stdout::Stdout;
use crate::surroundings::Surroundings;

/// What the lines look like, for programs.
const SCHEMA: &str = include_str!("../../proto/events.schema.json");

pub async fn run(events: Events, surroundings: &Surroundings) -> Result<u8, Failure> {
    if events.schema {
        print(SCHEMA);
        return Ok(0);
    }
    let mut out = Stdout::new();
    let mut seen = events.since;
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    // The next broker may have other sessions of these names.
    let mut sessions = match events.names.is_empty() {
        true => Vec::new(),
        false => ids(events.names, &link.rows().await?),
    };
    loop {
        let request = Request::Events {
            sessions: sessions.clone(),
            since: seen,
        };
        let failure = match follow(link.client(), request, &mut out, &mut seen).await {
            Ok(()) => return Ok(0),
            Err(failure) => failure,
        };
        if failure.code == ErrorCode::NoSuchSession && link.was_lost() {
            // It was killed under a broker that is gone.
            let rows = link.rows().await?;
            sessions.retain(|id| rows.iter().any(|row| row.id.to_string() == *id));
            if sessions.is_empty() {
                return Ok(0);
            }
            continue;
        }
        // The next broker's numbers are larger: nothing of it is missed.
        link.find_again(failure).await?;
        seen = seen.or(Some(0));
    }
}

/// Prints what comes; remembers the number of the last one.
async fn follow(
    client: &mut Client,
    request: Request,
    out: &mut Stdout,
    seen: &mut Option<u64>,
) -> Result<(), Failure> {
    let id = client.ask(request).await?;
    loop {
        match client.next(id).await? {
            Incoming::Event(event) => {
                *seen = Some(event.seq.max(seen.unwrap_or(0)));
                line(&event, out).await;
            }
            Incoming::Answer(Ok(Reply::Done {})) => return Ok(()),
            Incoming::Answer(Ok(other)) => return Err(unexpected(&other)),
            Incoming::Answer(Err(failure)) => return Err(failure),
        }
    }
}

async fn line(event: &Event, out: &mut Stdout) {
    if event.kind == EventKind::Unknown {
        return;
    }
    if let Err(error) = out.write(json_line(event).as_bytes()).await {
        cannot_print(&error);
    }
}
