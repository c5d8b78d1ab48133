//! A `send`, from its line to the last line about it.

use std::sync::Arc;

use clsess_proto::{Event, EventKind, Failure, Reply, Request, TurnId, TurnReport, check_prompt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use uuid::Uuid;

use super::command::{About, Send};
use super::input::Room;
use super::said::{Line, remark};
use super::session::{Open, Place, Session};
use super::shared::Shared;
use crate::commands::ms;
use crate::commands::send::OVERDUE;
use crate::commands::turn::{denials, failure_of, in_time, notes};
use crate::live::{Live, Said};
use clsess_client::client::{Client, Incoming, Start, unexpected};
use clsess_client::hearing::Hearing;

/// Runs the prompt and tells of it. `room`: what the line takes of the room for those that wait.
pub async fn run(
    shared: Arc<Shared>,
    session: Arc<Session>,
    about: About,
    send: Send,
    mut place: Place,
    mut room: Room,
) {
    let tells = Tells {
        // A program that knows only row A is told nothing else.
        more: about.id.is_some() || send.events,
        events: send.events,
        about,
    };
    let asked = ask(&shared, &session, send, &mut place).await;
    room.shrink();
    place.is_asked();
    place.told_before().await;
    match asked {
        Ok(turn) => turn.tell(&tells).await,
        Err(failure) => {
            let failure = session.heard(failure).await;
            shared.said.fails(&tells.about, &failure, None).await;
        }
    }
}

/// What is told of a turn.
struct Tells {
    about: About,
    more: bool,
    events: bool,
}

/// A turn that the session has.
struct Turn<'a> {
    shared: &'a Shared,
    client: Client,
    /// The request under way.
    request: u64,
    /// What came to it first.
    first: Option<Incoming>,
    session: String,
    turn: TurnId,
    /// When the broker is given up.
    give_up: Option<Instant>,
    hearing: Hearing,
    texts: Live,
    _open: Open<'a>,
    _permit: OwnedSemaphorePermit,
}

/// Gives the prompt to the session; returns when it is in its queue.
async fn ask<'a>(
    shared: &'a Shared,
    session: &'a Session,
    mut send: Send,
    place: &mut Place,
) -> Result<Turn<'a>, Failure> {
    let began = Instant::now();
    place.asked_before().await;
    let prompt = send.prompt.take().unwrap_or_default();
    check_prompt(&prompt)?;
    let permit = Arc::clone(&shared.turns).acquire_owned();
    // The semaphore is never closed.
    let Ok(permit) = place.unless_cut(permit).await? else {
        return Err(unexpected(&Reply::Unknown));
    };
    let id = session.open(shared).await?;
    let turn = match (&send.key, Uuid::parse_str(&id)) {
        (Some(key), Ok(id)) => TurnId::from_key(id, key),
        _ => TurnId::random(),
    };
    let deadline = send.deadline.filter(|deadline| !deadline.is_zero());
    // One that is too far away to be told is none.
    let give_up = deadline.and_then(|deadline| began.checked_add(deadline.saturating_add(OVERDUE)));
    let connected = Client::connect(&shared.surroundings, Start::IfMissing);
    let mut asking = Asking {
        client: in_time(give_up, connected).await?,
        began,
        request: shared.request(session, id.clone(), turn, prompt, &send)?,
        known: send.key.is_some(),
        asked: false,
    };
    let open = session.opens(turn);
    let (request, first) = asking.until_it_is_there(shared, give_up).await?;
    let mut hearing = Hearing::default();
    hearing.of(turn);
    Ok(Turn {
        shared,
        client: asking.client,
        request,
        first,
        session: id,
        turn,
        give_up,
        hearing,
        texts: Live::default(),
        _open: open,
        _permit: permit,
    })
}

/// A prompt on its way to the session.
struct Asking {
    client: Client,
    began: Instant,
    request: clsess_proto::Send,
    /// Its turn may be one of before.
    known: bool,
    asked: bool,
}

impl Asking {
    /// Asks until the session has the prompt: the request for its turn, and what has come to it.
    async fn until_it_is_there(
        &mut self,
        shared: &Shared,
        give_up: Option<Instant>,
    ) -> Result<(u64, Option<Incoming>), Failure> {
        loop {
            let failure = match in_time(give_up, self.ask()).await {
                Ok(asked) => return Ok(asked),
                Err(failure) => failure,
            };
            let surroundings = &shared.surroundings;
            let again = self.client.again(surroundings, Start::IfMissing, failure);
            again.await?;
        }
    }

    /// The same, of one broker. The first event of a new turn says that it is there; that of one
    /// which may have been there before does not have to come.
    async fn ask(&mut self) -> Result<(u64, Option<Incoming>), Failure> {
        let again = std::mem::replace(&mut self.asked, true);
        let (session, turn) = (self.request.session.clone(), self.request.turn);
        let mut request = self.request.clone();
        if request.deadline_ms > 0 {
            let left = request.deadline_ms.saturating_sub(ms(self.began.elapsed()));
            request.deadline_ms = left.max(1);
        }
        if !again && !self.known {
            let id = self.client.ask(Request::Send(Box::new(request))).await?;
            return match self.client.next(id).await? {
                Incoming::Answer(Err(failure)) => Err(failure),
                first => Ok((id, Some(first))),
            };
        }
        request.again = again;
        (request.wait, request.events, request.texts) = (false, false, false);
        match self.client.call(Request::Send(Box::new(request))).await? {
            Reply::Accepted { .. } => {}
            other => return Err(unexpected(&other)),
        }
        let id = self.client.ask(result(session, turn)).await?;
        Ok((id, None))
    }
}

/// Asks for a turn that the session has, and what happens in it.
fn result(session: String, turn: TurnId) -> Request {
    Request::Result {
        session,
        turn: turn.to_string(),
        events: true,
        texts: true,
    }
}

impl Turn<'_> {
    async fn tell(mut self, tells: &Tells) {
        let said = &self.shared.said;
        if tells.more {
            let turn = self.turn;
            said.say(&tells.about, Line::Accepted { turn }).await;
        }
        let failure = loop {
            match self.follow(tells).await {
                Ok(report) => return self.end(report, tells).await,
                Err(failure) => {
                    if let Err(failure) = self.find_again(failure).await {
                        break failure;
                    }
                }
            }
        };
        said.fails(&tells.about, &failure, None).await;
    }

    /// Asks the next broker, where this one is lost. Not for another run of the prompt: what has
    /// been taken back stays so.
    async fn find_again(&mut self, mut failure: Failure) -> Result<(), Failure> {
        loop {
            let surroundings = &self.shared.surroundings;
            let again = self.client.again(surroundings, Start::IfMissing, failure);
            let same = again.await?;
            self.hearing.told_again(same);
            match self
                .client
                .ask(result(self.session.clone(), self.turn))
                .await
            {
                Ok(id) => {
                    self.request = id;
                    return Ok(());
                }
                Err(lost) => failure = lost,
            }
        }
    }

    /// Tells what happens until the turn has ended.
    async fn follow(&mut self, tells: &Tells) -> Result<TurnReport, Failure> {
        loop {
            let incoming = match self.first.take() {
                Some(first) => first,
                None => in_time(self.give_up, self.client.next(self.request)).await?,
            };
            match incoming {
                Incoming::Event(event) => self.event(event, tells).await,
                Incoming::Answer(Ok(Reply::Turn(report))) => return Ok(*report),
                Incoming::Answer(Ok(other)) => return Err(unexpected(&other)),
                Incoming::Answer(Err(failure)) => return Err(failure),
            }
        }
    }

    async fn event(&mut self, event: Event, tells: &Tells) {
        let Some(news) = self.hearing.hear(event) else {
            return;
        };
        if news.unclear {
            self.texts.missed();
        }
        match &news.event.kind {
            EventKind::Text { message, text } => {
                let said = self.texts.text(*message as usize, text);
                return self.said(said, tells).await;
            }
            // The last line of the turn says it.
            EventKind::Result { .. } | EventKind::Unknown => return,
            EventKind::Gap { .. } => self.texts.missed(),
            EventKind::Retry { .. } => self.texts.retry(),
            _ => {}
        }
        if tells.events {
            let line = Line::Event(&news.event);
            self.shared.said.say(&tells.about, line).await;
        }
    }

    async fn end(&mut self, mut report: TurnReport, tells: &Tells) {
        let failure = failure_of(&report);
        let answer = report.answer.take();
        let texts = report.texts.take();
        let texts = texts.as_deref().unwrap_or(answer.as_slice());
        let said = self.texts.rest(texts, failure.is_none());
        self.said(said, tells).await;
        if !self.shared.output.quiet {
            for note in notes(&report) {
                remark(&format!("clsess: {note}\n"));
            }
        }
        for denial in denials(&report) {
            remark(&denial);
        }
        let said = &self.shared.said;
        if let Some(failure) = failure {
            let of = Some((report.turn, report.outcome));
            return said.fails(&tells.about, &failure, of).await;
        }
        let line = Line::Result {
            result: answer.as_deref().unwrap_or_default(),
            report: tells.more.then(|| Box::new(report)),
        };
        said.say(&tells.about, line).await;
    }

    async fn said(&self, said: Said, tells: &Tells) {
        if let Some(note) = said.note
            && !self.shared.output.quiet
        {
            remark(&format!("clsess: {note}\n"));
        }
        if !said.text.is_empty() {
            let line = Line::TextDelta { text: &said.text };
            self.shared.said.say(&tells.about, line).await;
        }
    }
}
