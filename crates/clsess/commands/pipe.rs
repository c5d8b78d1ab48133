//! `clsess pipe`: another program drives sessions, by lines of JSON.
//!
//! [`Input`] gives the lines of stdin, [`command`] reads them, and each command is a task of its
//! own with a connection of its own, as if it were a `clsess` command. What is asked of one session
//! in order has a [`Place`] in a row. All lines of stdout go by one writer,
//! [`Said`].

mod command;
mod input;
mod said;
mod session;
mod shared;
mod turn;
mod verbs;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure};
use futures_util::future::join_all;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use self::command::{About, Command};
use self::input::{Input, Room, TooLong, Waiting};
use self::said::{Line, Said, remark};
use self::session::{Place, Session};
use self::shared::Shared;
use crate::cli::{self, AgentOptions};
use crate::config::Config;
use crate::output::{Output, cannot_print, plain, print};
use crate::signals::Signals;
use clsess_client::surroundings::Surroundings;

/// How long what is said last may take to be read: behind a signal, and behind `shutdown`.
const HURRY: Duration = Duration::from_millis(500);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a pipe ends.
enum End {
    /// Of stdin: all that was asked has been told.
    Input,
    /// `shutdown`.
    Shutdown(About),
    /// The exit code.
    Signal(u8),
}

pub async fn run(
    options: cli::Pipe,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let done = async {
        let config = Config::load(surroundings.config.as_ref())?;
        let creates = options.create || config.declares(&options.name);
        let says_how = options.agent != AgentOptions::default() || options.resume.is_some();
        if !creates && (says_how || options.trust) {
            let message = "how a session is made is said, and not that it may be made";
            return Err(Failure::new(ErrorCode::BadRequest, message)
                .hint("-A makes the session when it is missing"));
        }
        let signals = Signals::catch().map_err(|e| internal(&e))?;
        let (said, writer) = Said::begin();
        let own = Session::new(options.name.clone(), true);
        let shared = Shared::new(surroundings, output, config, options, said);
        Pipe::new(shared, own, writer, signals).run().await
    };
    let done = Box::pin(done).await;
    if let Err(failure) = &done {
        print(&Line::error(failure).text(&About::default()));
    }
    done
}

fn internal(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::Internal, error.to_string())
}

/// The command itself: reads, begins tasks, and ends.
struct Pipe {
    shared: Arc<Shared>,
    own: Arc<Session>,
    others: HashMap<String, Arc<Session>>,
    tasks: JoinSet<()>,
    /// The one that tells events.
    events: JoinSet<()>,
    writer: JoinHandle<io::Result<()>>,
    signals: Signals,
}

impl Pipe {
    fn new(
        shared: Shared,
        own: Session,
        writer: JoinHandle<io::Result<()>>,
        signals: Signals,
    ) -> Self {
        Self {
            shared: Arc::new(shared),
            own: Arc::new(own),
            others: HashMap::new(),
            tasks: JoinSet::new(),
            events: JoinSet::new(),
            writer,
            signals,
        }
    }

    async fn run(mut self) -> Result<u8, Failure> {
        tokio::select! {
            opened = self.own.open(&self.shared) => opened?,
            // There is nothing to take back: a session that is being made stays.
            code = self.signals.next() => return Ok(code),
        };
        let plain = About::default();
        self.shared.said.say(&plain, Line::Ready {}).await;
        match self.serve().await {
            End::Input => self.told().await,
            End::Shutdown(about) => self.end(0, Some(about)).await,
            End::Signal(code) => self.end(code, None).await,
        }
    }

    /// Does what stdin says, until that has ended and all is told, or it is to end at once.
    async fn serve(&mut self) -> End {
        let mut input = Input::of_stdin();
        let waiting = Waiting::default();
        let mut goes_on = true;
        while goes_on || !self.tasks.is_empty() {
            tokio::select! {
                biased;
                code = self.signals.next() => return End::Signal(code),
                written = &mut self.writer => cannot_print(&wrong_with(written)),
                Some(_) = self.tasks.join_next() => {}
                line = waiting.next(&mut input), if goes_on => match line {
                    None => goes_on = false,
                    Some((line, room)) => {
                        if let Some(about) = self.line(line, room) {
                            return End::Shutdown(about);
                        }
                    }
                },
            }
        }
        End::Input
    }

    /// Begins what a line says; `shutdown` is left to do.
    fn line(&mut self, line: Result<Vec<u8>, TooLong>, room: Room) -> Option<About> {
        let (about, command) = match line {
            // NDJSON: a line of nothing is none.
            Ok(line) if line.trim_ascii().is_empty() => return None,
            Ok(line) => command::read(&line),
            Err(TooLong) => (About::default(), Err(command::too_long())),
        };
        let session = self.session(about.session.as_deref());
        let shared = Arc::clone(&self.shared);
        match command {
            Ok(Command::Shutdown {}) => return Some(about),
            Ok(Command::Send(send)) => {
                let place = session.place(&shared);
                self.tasks
                    .spawn(turn::run(shared, session, about, *send, place, room));
            }
            Ok(Command::Restart {}) => {
                session.cut();
                let place = session.place(&shared);
                self.tasks
                    .spawn(restart(shared, session, about, place, room));
            }
            Ok(Command::Events { on, sessions }) => {
                self.events = JoinSet::new();
                if on {
                    self.events
                        .spawn(verbs::events(shared, session, about, sessions));
                } else {
                    self.tasks.spawn(done(shared, about));
                }
            }
            Ok(command) => {
                self.tasks.spawn(async move {
                    verbs::run(shared, session, about, command).await;
                    drop(room);
                });
            }
            Err(failure) => {
                // A program that gives no ids takes what comes for the answer to its next line.
                let place = about.id.is_none().then(|| session.place(&shared));
                self.tasks
                    .spawn(refused(shared, about, failure, place, room));
            }
        }
        None
    }

    /// The session that a command is about.
    fn session(&mut self, name: Option<&str>) -> Arc<Session> {
        let Some(name) = name.filter(|name| *name != self.own.name) else {
            return Arc::clone(&self.own);
        };
        if !self.others.contains_key(name) {
            // Only those that something is under way for have to be remembered.
            self.others.retain(|_, other| Arc::strong_count(other) > 1);
        }
        let other = self.others.entry(name.to_owned());
        Arc::clone(other.or_insert_with_key(|name| Arc::new(Session::new(name.clone(), false))))
    }

    /// All is told, and the sessions stay.
    async fn told(mut self) -> Result<u8, Failure> {
        self.events.shutdown().await;
        drop(self.shared);
        tokio::select! {
            written = self.writer => match written {
                Ok(Ok(())) => Ok(0),
                written => cannot_print(&wrong_with(written)),
            },
            code = self.signals.next() => Ok(code),
        }
    }

    /// Ends what this pipe has begun, and tells of it, as far as that is read in time. Another
    /// signal leaves at once. With `shutdown`: the sessions that it has made, too.
    async fn end(mut self, mut code: u8, shutdown: Option<About>) -> Result<u8, Failure> {
        self.shared.ending.send_replace(true);
        let patience = if shutdown.is_some() {
            LAST_WORDS
        } else {
            HURRY
        };
        let sessions = self.others.values().chain([&self.own]);
        let back = join_all(sessions.map(|session| session.take_back(&self.shared)));
        let ends = async {
            let back: Result<Vec<()>, Failure> = back.await.into_iter().collect();
            match &shutdown {
                Some(_) => self.shared.kill_what_was_made().await.and(back),
                None => back,
            }
        };
        let ended = tokio::select! {
            ended = ends => ended,
            other = self.signals.next() => return Ok(if code == 0 { other } else { code }),
        };
        if let (Err(failure), Some(_)) = (&ended, &shutdown) {
            remark(&format!("clsess: {}\n", plain(&failure.message)));
            code = failure.code.exit();
        }
        let told = async {
            while self.tasks.join_next().await.is_some() {}
            if let Some(about) = shutdown {
                self.shared.last_line(&about, ended).await;
            }
            self.events.shutdown().await;
            drop(self.shared);
            self.writer.await
        };
        // Who does not read it any more knows why.
        let _ = timeout(patience, told).await;
        Ok(code)
    }
}

/// Begins a new conversation, and tells.
async fn restart(
    shared: Arc<Shared>,
    session: Arc<Session>,
    about: About,
    mut place: Place,
    _room: Room,
) {
    place.asked_before().await;
    let done = place.unless_ending(session.restart(&shared)).await;
    place.is_asked();
    place.told_before().await;
    match done.flatten() {
        Ok(()) => shared.said.say(&about, Line::Restarted {}).await,
        Err(failure) => {
            let failure = session.heard(failure).await;
            shared.said.fails(&about, &failure, None).await;
        }
    }
}

/// Tells what is wrong with a line; with a place in its turn.
async fn refused(
    shared: Arc<Shared>,
    about: About,
    failure: Failure,
    mut place: Option<Place>,
    _room: Room,
) {
    if let Some(place) = &mut place {
        place.asked_before().await;
        place.is_asked();
        place.told_before().await;
    }
    shared.said.fails(&about, &failure, None).await;
}

/// Nothing more to say.
async fn done(shared: Arc<Shared>, about: About) {
    let body = serde_json::Map::new();
    shared.said.say(&about, Line::Ok { body }).await;
}

/// Why nothing can be written any more.
fn wrong_with(written: Result<io::Result<()>, JoinError>) -> io::Error {
    match written {
        Ok(Err(error)) => error,
        Ok(Ok(())) => io::ErrorKind::BrokenPipe.into(),
        Err(error) => io::Error::other(error),
    }
}
