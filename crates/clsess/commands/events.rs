//! `clsess events`.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::pin::pin;

use clsess_proto::{ErrorCode, Event, EventKind, Failure, Reply, Request};

use crate::cli::Events;
use crate::output::{cannot_print, json_line, print};
use crate::stdout::Stdout;
use clsess_client::client::{Incoming, Start, unexpected};
use clsess_client::link::{Link, ids};
use clsess_client::surroundings::Surroundings;

/// What the lines look like, for programs.
const SCHEMA: &str = include_str!("../../proto/events.schema.json");

/// The beginning of a `text/event-stream`: a comment, which readers skip. Whoever passes it on learns by it
/// that there is something to pass on, before anything happens.
const BEGUN: &str = ": from here on\n\n";

pub async fn run(events: Events, surroundings: &Surroundings) -> Result<u8, Failure> {
    if events.schema {
        print(SCHEMA);
        return Ok(0);
    }
    let mut out = Stdout::new();
    let mut gone = pin!(out.reader_gone());
    let mut watch = Watch::begin(surroundings, events.names, events.since).await?;
    let mut text = if events.sse {
        BEGUN.to_owned()
    } else {
        String::new()
    };
    loop {
        if let Err(error) = out.write(text.as_bytes()).await {
            cannot_print(&error);
        }
        let event = tokio::select! {
            event = watch.next() => event?,
            // Nothing may happen for hours, and whoever started this may have been killed.
            () = &mut gone => cannot_print(&ErrorKind::BrokenPipe.into()),
        };
        text = match event {
            Some(event) if events.sse => sse(&event),
            Some(event) => json_line(&event),
            None => return Ok(0),
        };
    }
}

/// An event of a `text/event-stream`. Its number is what a browser gives back as `Last-Event-ID`. The
/// JSON is one line: what would end it is escaped there.
fn sse(event: &Event) -> String {
    let (seq, line) = (event.seq, json_line(event));
    format!("id: {seq}\nevent: {}\ndata: {line}\n", event.kind.name())
}

/// What happens in sessions, over the deaths of brokers.
pub struct Watch {
    link: Link,
    /// Their ids; empty: all of them.
    sessions: Vec<String>,
    /// The number of the last event.
    seen: Option<u64>,
    /// The request under way.
    id: u64,
    /// What came before it was known that this is watched.
    early: VecDeque<Incoming>,
}

impl Watch {
    /// When this returns, all that happens from now on is told.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn begin(
        surroundings: &Surroundings,
        names: Vec<String>,
        since: Option<u64>,
    ) -> Result<Self, Failure> {
        let mut link = Link::connect(surroundings, Start::IfMissing).await?;
        // The next broker may have other sessions of these names.
        let sessions = match names.is_empty() {
            true => Vec::new(),
            false => ids(names, &link.rows().await?),
        };
        let mut watch = Self {
            link,
            sessions,
            seen: since,
            id: 0,
            early: VecDeque::new(),
        };
        if let Err(failure) = watch.ask().await {
            watch.ask_again(failure).await?;
        }
        Ok(watch)
    }

    /// The next event; none when no named session is left.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            let incoming = match self.early.pop_front() {
                Some(incoming) => Ok(incoming),
                None => self.link.client().next(self.id).await,
            };
            let failure = match incoming {
                Ok(Incoming::Event(event)) => {
                    self.seen = Some(event.seq.max(self.seen.unwrap_or(0)));
                    if event.kind == EventKind::Unknown {
                        continue;
                    }
                    return Ok(Some(event));
                }
                Ok(Incoming::Answer(Ok(Reply::Done {}))) => return Ok(None),
                Ok(Incoming::Answer(Ok(other))) => return Err(unexpected(&other)),
                Ok(Incoming::Answer(Err(failure))) | Err(failure) => failure,
            };
            if !self.ask_again(failure).await? {
                return Ok(None);
            }
        }
    }

    /// Asks. A broker that has answered what was asked behind it has begun with this.
    async fn ask(&mut self) -> Result<(), Failure> {
        self.early.clear();
        let client = self.link.client();
        let request = Request::Events {
            sessions: self.sessions.clone(),
            since: self.seen,
        };
        self.id = client.ask(request).await?;
        let behind = client.ask(Request::Status {}).await?;
        loop {
            match client.next_of_any().await? {
                (id, Incoming::Answer(Err(failure))) if id == self.id => return Err(failure),
                (id, incoming) if id == self.id => self.early.push_back(incoming),
                (id, _) if id == behind => return Ok(()),
                _ => {}
            }
        }
    }

    /// Asks until that is heard; false when no named session is left.
    async fn ask_again(&mut self, mut failure: Failure) -> Result<bool, Failure> {
        while self.mend(failure).await? {
            match self.ask().await {
                Ok(()) => return Ok(true),
                Err(again) => failure = again,
            }
        }
        Ok(false)
    }

    /// Does what makes it worth to ask again; false when no named session is left.
    async fn mend(&mut self, failure: Failure) -> Result<bool, Failure> {
        if failure.code == ErrorCode::NoSuchSession && self.link.was_lost() {
            // It was killed under a broker that is gone.
            let rows = self.link.rows().await?;
            self.sessions
                .retain(|id| rows.iter().any(|row| row.id.to_string() == *id));
            return Ok(!self.sessions.is_empty());
        }
        // The next broker's numbers are larger: nothing of it is missed.
        self.link.find_again(failure).await?;
        self.seen = self.seen.or(Some(0));
        Ok(true)
    }
}
