//! `clsess log`.

use std::time::{Duration, UNIX_EPOCH};

use clsess_proto::{EventKind, Failure, LogEntry, Reply, Request, TurnId};

use crate::cli::Log;
use crate::client::{Client, Incoming, Start, unexpected};
use crate::output::{json_line, name_of, plain, print};
use crate::surroundings::Surroundings;

pub async fn run(log: Log, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    // Before the turns that have ended are read: what ends meanwhile comes twice, not never.
    let mut follower = match log.follow {
        true => Some(Follower::begin(&log, surroundings).await?),
        false => None,
    };
    let mut request = Request::Log {
        session: log.name.clone(),
        turn: log.turn.clone(),
        after: None,
        last: log.lines,
    };
    loop {
        let (turns, more) = page(&mut client, request).await?;
        for entry in &turns {
            let open = entry.outcome.open();
            if log.follow && open {
                continue;
            }
            follower
                .iter_mut()
                .for_each(|follower| follower.printed.push(entry.turn));
            show(&log, entry);
        }
        let last = turns.last().map(|entry| entry.turn);
        match last.filter(|_| more) {
            Some(last) => {
                request = Request::Log {
                    session: log.name.clone(),
                    turn: None,
                    after: Some(last),
                    last: None,
                };
            }
            None => break,
        }
    }
    match follower {
        Some(follower) => follower.follow(&log, &mut client).await,
        None => Ok(0),
    }
}

async fn page(client: &mut Client, request: Request) -> Result<(Vec<LogEntry>, bool), Failure> {
    match client.call(request).await? {
        Reply::Log { turns, more } => Ok((turns, more)),
        other => Err(unexpected(&other)),
    }
}

/// Hears of turns that end.
struct Follower {
    client: Client,
    id: u64,
    /// The session's id: its name may change, and go.
    session: String,
    /// Turns that are printed already.
    printed: Vec<TurnId>,
}

impl Follower {
    async fn begin(log: &Log, surroundings: &Surroundings) -> Result<Self, Failure> {
        let mut client = Client::connect(surroundings, Start::IfMissing).await?;
        let request = Request::Events {
            sessions: vec![log.name.clone()],
            since: None,
        };
        let show = Request::Show {
            session: log.name.clone(),
        };
        let session = match client.call(show).await? {
            Reply::Detail(detail) => detail.row.id.to_string(),
            other => return Err(unexpected(&other)),
        };
        let id = client.ask(request).await?;
        Ok(Self {
            client,
            id,
            session,
            printed: Vec::new(),
        })
    }

    async fn follow(mut self, log: &Log, client: &mut Client) -> Result<u8, Failure> {
        loop {
            let event = match self.client.next(self.id).await? {
                Incoming::Event(event) => event,
                Incoming::Answer(answer) => return answer.map(|_| 0),
            };
            let (EventKind::Result { .. }, Some(turn)) = (&event.kind, event.turn) else {
                continue;
            };
            if self.printed.contains(&turn) {
                continue;
            }
            let request = Request::Log {
                session: self.session.clone(),
                turn: Some(turn.to_string()),
                after: None,
                last: None,
            };
            let (turns, _) = page(client, request).await?;
            turns.iter().for_each(|entry| show(log, entry));
        }
    }
}

fn show(log: &Log, entry: &LogEntry) {
    if log.json {
        print(&json_line(entry));
    } else {
        print(&for_people(entry));
    }
}

/// A turn for people: a line about it, the prompt, the answer.
fn for_people(entry: &LogEntry) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(entry.at);
    let at = humantime::format_rfc3339_seconds(at);
    let mut text = format!("{at}  {}  {}", entry.turn, name_of(&entry.outcome));
    if let Some(ms) = entry.duration_ms {
        text += &format!(
            "  {}",
            humantime::format_duration(Duration::from_millis(ms))
        );
    }
    if let Some(cost) = entry.cost_usd {
        text += &format!("  ${cost:.4}");
    }
    if let Some(origin) = &entry.origin {
        text += &format!("  unasked: {}", plain(origin));
    }
    text.push('\n');
    let mut part = |mark: &str, words: &str| {
        for line in words.lines() {
            text += &format!("{mark} {}\n", plain(line));
        }
    };
    part(">", entry.prompt.as_deref().unwrap_or_default());
    part(" ", entry.answer.as_deref().unwrap_or_default());
    part("!", entry.error.as_ref().map_or("", |error| &error.message));
    text.push('\n');
    text
}
