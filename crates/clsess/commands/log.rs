//! `clsess log`.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use clsess_proto::{ErrorCode, EventKind, Failure, LogEntry, Reply, Request, TurnId};

use crate::cli::Log;
use crate::output::{json_line, name_of, plain, print};
use clsess_client::client::{Client, Incoming, Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(mut log: Log, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    log.name = match log.follow {
        true => link.id_of(&log.name).await?,
        false => link.id_of_any(&log.name).await?,
    };
    let mut printed = HashSet::new();
    if !log.follow {
        list(&log, &mut link, log.lines, &mut printed).await?;
        return Ok(0);
    }
    loop {
        let failure = match follow(&log, &mut link, surroundings, &mut printed).await {
            Ok(code) => return Ok(code),
            // It was there, so it has been killed; its turns are all shown.
            Err(failure) if failure.code == ErrorCode::NoSuchSession => return Ok(0),
            Err(failure) => failure,
        };
        link.find_again(failure).await?;
    }
}

/// Shows the turns that have ended, and each one that ends from now on.
async fn follow(
    log: &Log,
    link: &mut Link,
    surroundings: &Surroundings,
    printed: &mut HashSet<TurnId>,
) -> Result<u8, Failure> {
    // Before those that have ended are read: what ends meanwhile comes with both.
    let mut follower = Follower::begin(log, surroundings).await?;
    list(log, link, more_than(log, printed), printed).await?;
    follower.follow(log, link, printed).await
}

/// How many of the last turns may have to be shown.
fn more_than(log: &Log, printed: &HashSet<TurnId>) -> Option<u64> {
    log.lines.map(|lines| lines + printed.len() as u64)
}

/// Shows the turns that are there and not shown yet; to be followed, only those that have ended.
async fn list(
    log: &Log,
    link: &mut Link,
    last: Option<u64>,
    printed: &mut HashSet<TurnId>,
) -> Result<(), Failure> {
    let ask = |after, last| Request::Log {
        session: log.name.clone(),
        turn: log.turn.clone(),
        after,
        last,
    };
    let mut request = ask(None, last);
    loop {
        let (turns, more) = page(link, request).await?;
        for entry in &turns {
            let waits = log.follow && entry.outcome.open();
            if !waits && printed.insert(entry.turn) {
                show(log, entry);
            }
        }
        match turns.last().filter(|_| more) {
            Some(last) => request = ask(Some(last.turn), None),
            None => return Ok(()),
        }
    }
}

async fn page(link: &mut Link, request: Request) -> Result<(Vec<LogEntry>, bool), Failure> {
    match link.call(request).await? {
        Reply::Log { turns, more } => Ok((turns, more)),
        other => Err(unexpected(&other)),
    }
}

/// Hears of turns that end.
struct Follower {
    client: Client,
    id: u64,
}

impl Follower {
    async fn begin(log: &Log, surroundings: &Surroundings) -> Result<Self, Failure> {
        let mut client = Client::connect(surroundings, Start::IfMissing).await?;
        let request = Request::Events {
            sessions: vec![log.name.clone()],
            since: None,
        };
        let id = client.ask(request).await?;
        Ok(Self { client, id })
    }

    async fn follow(
        &mut self,
        log: &Log,
        link: &mut Link,
        printed: &mut HashSet<TurnId>,
    ) -> Result<u8, Failure> {
        loop {
            let event = match self.client.next(self.id).await? {
                Incoming::Event(event) => event,
                Incoming::Answer(answer) => return answer.map(|_| 0),
            };
            match (&event.kind, event.turn) {
                (EventKind::Result { .. }, Some(turn)) if printed.insert(turn) => {
                    let request = Request::Log {
                        session: log.name.clone(),
                        turn: Some(turn.to_string()),
                        after: None,
                        last: None,
                    };
                    let (turns, _) = page(link, request).await?;
                    turns.iter().for_each(|entry| show(log, entry));
                }
                // An end may be among what was missed.
                (EventKind::Gap { .. }, _) => {
                    list(log, link, more_than(log, printed), printed).await?
                }
                _ => {}
            }
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
