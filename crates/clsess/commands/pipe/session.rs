//! A session as a pipe uses it: which one it is, and the order of what is asked of it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clsess_proto::{ErrorCode, Failure, Reply, Request, SessionRow, TurnId};
use tokio::sync::{oneshot, watch};

use super::shared::Shared;
use crate::commands::new;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;

/// See the module.
pub struct Session {
    /// As the client names it.
    pub name: String,
    /// It is the one that the pipe is for.
    pub own: bool,
    /// Its id, from when it was first asked for until it is gone: a new name changes nothing.
    id: tokio::sync::Mutex<Option<String>>,
    /// The turns of this pipe that have not ended.
    open: Mutex<Vec<TurnId>>,
    /// The latest place in the row.
    last: Mutex<Before>,
    /// Prompts that the session does not have yet are not sent any more.
    cut: watch::Sender<()>,
}

/// What is waited for: closed when it is so.
struct Before {
    asked: oneshot::Receiver<()>,
    told: oneshot::Receiver<()>,
}

/// The place of a command in the row of its session's: each is asked when those before it have
/// been, and told when those have been told. Dropped, it holds up nobody.
pub struct Place {
    before: Before,
    asked: Option<oneshot::Sender<()>>,
    _told: oneshot::Sender<()>,
    cut: watch::Receiver<()>,
    ending: watch::Receiver<bool>,
}

impl Session {
    #[must_use]
    pub fn new(name: String, own: bool) -> Self {
        let nobody = || oneshot::channel().1;
        Self {
            name,
            own,
            id: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            last: Mutex::new(Before {
                asked: nobody(),
                told: nobody(),
            }),
            cut: watch::Sender::new(()),
        }
    }

    /// A place behind all others.
    #[must_use]
    pub fn place(&self, shared: &Shared) -> Place {
        let (asked, asked_before) = oneshot::channel();
        let (told, told_before) = oneshot::channel();
        let next = Before {
            asked: asked_before,
            told: told_before,
        };
        Place {
            before: std::mem::replace(&mut *locked(&self.last), next),
            asked: Some(asked),
            _told: told,
            cut: self.cut.subscribe(),
            ending: shared.ending.subscribe(),
        }
    }

    /// Those in the row that the session does not have yet are not sent to it any more.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Its id. Makes it where it is missing and that is wanted; then it is ready, too.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn open(&self, shared: &Shared) -> Result<String, Failure> {
        let mut id = self.id.lock().await;
        if let Some(id) = &*id {
            return Ok(id.clone());
        }
        let row = self.found(shared).await?;
        if row.driver == "program" {
            let message = format!("{} runs a program, which takes no prompts", self.name);
            let failure = Failure::new(ErrorCode::NotAnAgent, message);
            let name = &self.name;
            return Err(failure.hint(format!("clsess attach {name}, or clsess type {name} TEXT")));
        }
        Ok(id.insert(row.id.to_string()).clone())
    }

    async fn found(&self, shared: &Shared) -> Result<SessionRow, Failure> {
        let mut link = Link::connect(&shared.surroundings, Start::IfMissing).await?;
        let Some(request) = shared.makes(self)? else {
            let session = self.name.clone();
            return match link.call(Request::Show { session }).await? {
                Reply::Detail(detail) => Ok(detail.row),
                other => Err(unexpected(&other)),
            };
        };
        let (row, made) = Box::pin(new::make(&mut link, request)).await?;
        if made {
            locked(&shared.made).push(row.id);
        }
        Ok(row)
    }

    /// Its id, where it is there.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn id(&self, link: &mut Link) -> Result<String, Failure> {
        match &*self.id.lock().await {
            Some(id) => Ok(id.clone()),
            None => link.id_of(&self.name).await,
        }
    }

    /// What went wrong, by the session's name. One that is gone is looked for by its name from now
    /// on.
    pub async fn heard(&self, failure: Failure) -> Failure {
        if failure.code != ErrorCode::NoSuchSession {
            return failure;
        }
        *self.id.lock().await = None;
        Failure {
            message: format!("there is no session {}", self.name),
            ..failure
        }
    }

    /// A turn of this pipe has begun; it counts until this is dropped.
    #[must_use]
    pub fn opens(&self, turn: TurnId) -> Open<'_> {
        locked(&self.open).push(turn);
        Open {
            session: self,
            turn,
        }
    }

    /// The open turns, the latest first: taken back in this row, none begins in the place of
    /// another.
    #[must_use]
    pub fn latest_first(&self) -> Vec<TurnId> {
        locked(&self.open).iter().rev().copied().collect()
    }

    /// Takes back all that this pipe has sent and that has not ended; returns when it has.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn take_back(&self, shared: &Shared) -> Result<(), Failure> {
        let mut place = self.place(shared);
        place.asked_before().await;
        let turns = self.latest_first();
        if turns.is_empty() {
            return Ok(());
        }
        let mut link = Link::connect(&shared.surroundings, Start::IfMissing).await?;
        for turn in turns {
            let session = self.id(&mut link).await?;
            taken(link.call(Request::Cancel { session, turn }).await)?;
        }
        Ok(())
    }

    /// Begins a new conversation. What of this pipe waits is taken back; what runs ends by it.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn restart(&self, shared: &Shared) -> Result<(), Failure> {
        let session = self.open(shared).await?;
        let mut link = Link::connect(&shared.surroundings, Start::IfMissing).await?;
        for turn in self.latest_first() {
            let request = Request::QueueRemove {
                session: session.clone(),
                turn: Some(turn.to_string()),
            };
            taken(link.call(request).await)?;
        }
        let request = Request::Restart {
            session,
            fresh: true,
            env: None,
            start_timeout_ms: shared.start_timeout_ms(self)?,
        };
        match link.call(request).await? {
            Reply::Session { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// A turn that has ended meanwhile, or does not wait any more, is as good as taken back.
fn taken(answer: Result<Reply, Failure>) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.code != ErrorCode::NoSuchTurn => Err(failure),
        _ => Ok(()),
    }
}

impl Place {
    /// Waits until all before it have been asked.
    pub async fn asked_before(&mut self) {
        let _ = (&mut self.before.asked).await;
    }

    /// Waits for something that the session does not know of yet.
    ///
    /// # Errors
    /// When it is not to be asked any more.
    pub async fn unless_cut<T>(&mut self, waits: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending) => Err(ended()),
            _ = self.cut.changed() => {
                Err(Failure::new(ErrorCode::Restarted, "the session was restarted"))
            }
            it = waits => Ok(it),
        }
    }

    /// Waits for something, but not when the pipe ends.
    ///
    /// # Errors
    /// When it does.
    pub async fn unless_ending<T>(&mut self, waits: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending) => Err(ended()),
            it = waits => Ok(it),
        }
    }

    /// The next one may be asked.
    pub fn is_asked(&mut self) {
        self.asked = None;
    }

    /// Waits until all before it have been told.
    pub async fn told_before(&mut self) {
        let _ = (&mut self.before.told).await;
    }
}

fn ended() -> Failure {
    Failure::new(ErrorCode::Cancelled, "the pipe was ended")
}

/// See [`Session::opens`].
pub struct Open<'a> {
    session: &'a Session,
    turn: TurnId,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut open = locked(&self.session.open);
        // Two prompts of one key are one turn.
        if let Some(at) = open.iter().position(|turn| *turn == self.turn) {
            open.remove(at);
        }
    }
}

/// What is in there is whole at any time.
pub fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
