//! Requests that ask several sessions, or more of one than its task answers at once.

use std::sync::atomic::Ordering;

use clsess_proto::{
    ErrorCode, Failure, Question, Reply, Request, SessionRow, State, TurnId, Until, valid_name,
};
use futures_util::future::{join_all, select_all};

use crate::broker::Shared;
use crate::conn::{ask, of_ended};
use crate::create::session_reply;
use crate::disk;
use crate::journal::Journal;
use crate::session::{Command, Handle, Row, view};

/// Whether it waits neither for an agent nor for something to happen.
#[must_use]
pub fn is_brief(request: &Request) -> bool {
    use Request as R;
    match request {
        R::List {} | R::Show { .. } | R::Status {} | R::Queue { .. } | R::Log { .. } => true,
        R::QueueRemove { .. } | R::QueueRun { .. } | R::Rename { .. } | R::Unknown => true,
        R::Questions { .. } | R::Approve { .. } | R::Deny { .. } | R::Answer { .. } => true,
        R::New(_) | R::Send(_) | R::Result { .. } | R::Wait { .. } | R::Events { .. } => false,
        R::Kill { .. } | R::Restart { .. } | R::Cancel { .. } | R::Interrupt { .. } => false,
        R::Resized { .. } | R::Detach { .. } | R::Capture { .. } => true,
        R::Attach(_) | R::Type { .. } | R::Keys { .. } | R::Hook { .. } | R::Edit { .. } => false,
        R::Stop { .. } | R::Upgrade { .. } => false,
    }
}

/// `wait`: until something is so of all the sessions, or of any. `seen`: as they were when this was
/// asked for the first time, perhaps of another broker.
///
/// # Errors
/// [`ErrorCode::NoSuchSession`]; [`ErrorCode::Killed`] of a session that goes away meanwhile.
pub async fn wait(
    shared: &Shared,
    names: &[String],
    until: Until,
    any: bool,
    seen: &[SessionRow],
) -> Result<Reply, Failure> {
    let waiting = names.iter().map(|name| {
        let handle = shared.registry.find(name);
        let id = handle
            .as_ref()
            .map_or_else(|_| name.clone(), |it| it.id.to_string());
        let seen = seen.iter().find(|row| row.id.to_string() == id).cloned();
        let found = match (handle, seen) {
            (Ok(handle), seen) => Found::There(handle, seen),
            (Err(_), Some(row)) => Found::Gone(row),
            (Err(failure), None) => return Err(failure),
        };
        Ok(Box::pin(becomes(shared, found, until)))
    });
    let waiting: Vec<_> = waiting.collect::<Result<_, _>>()?;
    if waiting.is_empty() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            "no session to wait for",
        ));
    }
    let sessions = if any {
        vec![select_all(waiting).await.0?]
    } else {
        join_all(waiting)
            .await
            .into_iter()
            .collect::<Result<_, _>>()?
    };
    Ok(Reply::Waited { sessions })
}

/// A session that is waited for.
enum Found {
    /// With its row as it was seen before.
    There(Handle, Option<SessionRow>),
    /// It was killed since its row was seen.
    Gone(SessionRow),
}

/// Waits until it is so of a session; its row then.
async fn becomes(shared: &Shared, found: Found, until: Until) -> Result<SessionRow, Failure> {
    let (handle, seen) = match found {
        Found::There(handle, seen) => (handle, seen),
        Found::Gone(mut row) => {
            row.state = State::Gone;
            return gone(shared, row, until);
        }
    };
    let mut row = handle.row.clone();
    let now = row.borrow_and_update().told();
    let before = seen.unwrap_or(now);
    let so = |row: &Row| is_so(&row.row, &before, until);
    match row.wait_for(so).await {
        Ok(row) => Ok(row.told()),
        Err(_) => gone(shared, handle.row.borrow().told(), until),
    }
}

/// The session is gone: its last row, where that is what was waited for.
fn gone(shared: &Shared, row: SessionRow, until: Until) -> Result<SessionRow, Failure> {
    if shared.stopping.load(Ordering::Relaxed) {
        return Err(Failure::new(
            ErrorCode::BrokerStopping,
            "the broker was stopped",
        ));
    }
    match until {
        Until::Exit | Until::Change => Ok(row),
        Until::Idle | Until::Question => {
            let message = format!("{} was killed", row.name);
            Err(Failure::new(ErrorCode::Killed, message))
        }
    }
}

fn is_so(row: &SessionRow, before: &SessionRow, until: Until) -> bool {
    match until {
        Until::Idle => match row.state {
            State::Idle | State::Asleep | State::LoginNeeded | State::RateLimited => row.queue == 0,
            // Nothing runs before somebody does something about it.
            State::Failed | State::Held | State::Exited => true,
            _ => false,
        },
        Until::Question => row.state == State::Question,
        Until::Exit => matches!(
            row.state,
            State::Asleep | State::Held | State::Exited | State::Failed
        ),
        Until::Change => {
            row.state != before.state || row.queue != before.queue || row.turns != before.turns
        }
    }
}

/// The request, with the session that has its turn where the one that it names does not: the name
/// may be another one's by the time that a request is made again. Before anything else is looked
/// at: who may do it depends on the session.
pub async fn located(shared: &Shared, mut request: Request) -> Request {
    let (session, turn) = match &mut request {
        Request::Send(send) if send.again => (&mut send.session, send.turn),
        Request::Cancel { session, turn } => (session, *turn),
        Request::Result { session, turn, .. } => match turn.parse() {
            Ok(turn) => (session, turn),
            Err(_) => return request,
        },
        _ => return request,
    };
    let named = shared.registry.find(session).ok();
    for handle in named.into_iter().chain(shared.registry.all()) {
        if has(&handle, turn).await {
            *session = handle.id.to_string();
            break;
        }
    }
    request
}

/// Whether the session of this name has a turn.
pub async fn knows(shared: &Shared, session: &str, turn: TurnId) -> bool {
    match shared.registry.find(session) {
        Ok(handle) => has(&handle, turn).await,
        Err(_) => false,
    }
}

async fn has(handle: &Handle, turn: TurnId) -> bool {
    let knows = ask(handle, |reply| Command::Knows { turn, reply });
    matches!(knows.await, Ok(true))
}

/// The journal of a killed session that has a turn. Reads them all.
#[must_use]
pub fn ended_with(shared: &Shared, turn: TurnId) -> Option<Journal> {
    let dirs = std::fs::read_dir(shared.place.ended()).ok()?;
    let journals = dirs
        .flatten()
        .filter_map(|dir| Journal::read_only(&dir.path()).ok());
    journals
        .into_iter()
        .find(|journal| journal.outcome(turn).is_some())
}

/// `rename`.
///
/// # Errors
/// [`ErrorCode::BadName`], [`ErrorCode::SessionExists`], [`ErrorCode::NoSuchSession`];
/// [`ErrorCode::JournalFailed`] when the disk does not keep it.
pub async fn rename(shared: &Shared, session: &str, name: String) -> Result<Reply, Failure> {
    if !valid_name(&name) {
        return Err(bad_name(&name));
    }
    let handle = shared.registry.find(session)?;
    shared.registry.rename(handle.id, &name)?;
    let new = name.clone();
    let saved = ask(&handle, |reply| Command::Rename { name, reply }).await?;
    saved.kept().await.map_err(|error| {
        let message =
            format!("it is called {new} now, but the disk does not keep that yet: {error}");
        Failure::new(ErrorCode::JournalFailed, message).hint(disk::hint(&error))
    })?;
    Ok(session_reply(&handle, false))
}

/// It cannot name a session.
#[must_use]
pub fn bad_name(name: &str) -> Failure {
    Failure::new(
        ErrorCode::BadName,
        format!("{name:?} is no name for a session"),
    )
    .hint("letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit")
}

/// `questions`: of one session, or of all.
///
/// # Errors
/// [`ErrorCode::NoSuchSession`].
pub async fn questions(shared: &Shared, session: Option<&str>) -> Result<Reply, Failure> {
    let handles = match session {
        Some(name) => vec![shared.registry.find(name)?],
        // Only those that ask: a session that is busy with the disk is not waited for.
        None => shared
            .registry
            .all()
            .into_iter()
            .filter(|handle| handle.row.borrow().row.state == State::Question)
            .collect(),
    };
    let asked = join_all(
        handles
            .iter()
            .map(|handle| ask(handle, |reply| Command::Questions { reply })),
    );
    let mut questions: Vec<Question> = asked.await.into_iter().flatten().flatten().collect();
    questions.sort_by_key(|question| question.asked_at);
    Ok(Reply::Questions { questions })
}

/// `log`: of a session, or of one that was killed.
///
/// # Errors
/// [`ErrorCode::NoSuchSession`], [`ErrorCode::NoSuchTurn`].
pub async fn log(
    shared: &Shared,
    session: &str,
    selector: Option<String>,
    after: Option<TurnId>,
    last: Option<u64>,
) -> Result<Reply, Failure> {
    let (turns, more) = match shared.registry.find(session) {
        Ok(handle) => {
            let command = |reply| Command::Log {
                selector,
                after,
                last,
                reply,
            };
            ask(&handle, command).await?
        }
        Err(failure) => {
            let journal = of_ended(shared, session).unwrap_or(Err(failure))?;
            view::log(&journal, selector.as_deref(), after, last)?
        }
    };
    Ok(Reply::Log { turns, more })
}
