//! What most programs need.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use clsess_proto::{
    ErrorCode, Event, Failure, New, OnQuestion, Outcome, Reply, Request, Send, SessionRow,
    Settings, TurnId, TurnReport,
};
use uuid::Uuid;

use crate::client::{Incoming, Start, unexpected};
use crate::hearing::Hearing;
use crate::link::Link;
use crate::surroundings::{Named, Surroundings};

/// How long an agent may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a turn may take: the command's own default.
const TURN_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The sessions of a broker. What is asked of one that dies is asked of the next one, and nothing is done
/// twice.
pub struct Clsess {
    link: Link,
}

/// A session that is to be made: see [`Clsess::new_session`].
#[derive(Clone, Debug)]
pub struct NewSession {
    request: New,
}

impl Clsess {
    /// Connects to the broker that this process's environment names (`CLSESS_SOCKET`, `CLSESS_LABEL` and the
    /// directories), and starts one where there is none.
    ///
    /// # Errors
    /// [`ErrorCode::BrokerUnreachable`], and what is wrong with the places.
    pub async fn connect() -> Result<Self, Failure> {
        let surroundings = Surroundings::find(Named::by_environment())?;
        Self::at(surroundings).await
    }

    /// The same of other surroundings.
    ///
    /// # Errors
    /// As [`Clsess::connect`].
    pub async fn at(surroundings: Surroundings) -> Result<Self, Failure> {
        let link = Link::connect(&surroundings, Start::IfMissing).await?;
        Ok(Self { link })
    }

    /// A session in this directory (absolute, UTF-8), with this process's environment: for [`Clsess::make`].
    #[must_use]
    pub fn new_session(&self, cwd: impl AsRef<Path>) -> NewSession {
        let bytes = |text: OsString| text.into_vec().into();
        let env = std::env::vars_os().map(|(name, value)| (bytes(name), bytes(value)));
        NewSession {
            request: New {
                id: Some(Uuid::new_v4()),
                name: None,
                cwd: cwd.as_ref().to_string_lossy().into_owned(),
                env: env.collect(),
                settings: Settings::default(),
                program: None,
                resume: None,
                trust: false,
                exists_ok: false,
                wait: true,
                start_timeout_ms: ms(START_TIMEOUT),
                umask: None,
            },
        }
    }

    /// Makes a session, and waits until its agent is ready.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExists`], [`ErrorCode::UntrustedDirectory`], [`ErrorCode::AgentNotFound`] and others.
    pub async fn make(&mut self, session: NewSession) -> Result<SessionRow, Failure> {
        match self
            .link
            .call(Request::New(Box::new(session.request)))
            .await?
        {
            Reply::Session { session, .. } => Ok(session),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a prompt in a session and waits for its end. `Ok` means that this prompt became this turn, once, and
    /// that `answer` is its answer.
    ///
    /// # Errors
    /// The turn's own failure, by name, where it did not end well; those of the broker.
    pub async fn send(&mut self, session: &str, prompt: &str) -> Result<TurnReport, Failure> {
        let report = self.turn(self.prompt(session, prompt), |_| ()).await?;
        well(report)
    }

    /// A prompt as [`Clsess::send`] sends it, to be changed: another turn's id makes it the same one again.
    #[must_use]
    pub fn prompt(&self, session: &str, prompt: &str) -> Send {
        Send {
            session: session.to_owned(),
            turn: TurnId::random(),
            prompt: prompt.to_owned(),
            timeout_ms: ms(TURN_TIMEOUT),
            deadline_ms: 0,
            on_busy: Default::default(),
            on_question: OnQuestion::Deny,
            on_limit: Default::default(),
            on_crash: Default::default(),
            again: false,
            wait: true,
            events: false,
            texts: false,
        }
    }

    /// Runs a prompt and waits for its end, however that is; `heard` is told what happens meanwhile where
    /// `send.events` is set, each thing once, also over the death of a broker. Text is provisional until the end, and may stop short
    /// of it where a broker dies: the report has all of it.
    ///
    /// # Errors
    /// When there is no turn: those of the broker, or of a prompt that cannot be sent.
    pub async fn turn(
        &mut self,
        mut send: Send,
        mut heard: impl FnMut(Event),
    ) -> Result<TurnReport, Failure> {
        send.wait = true;
        let turn = send.turn;
        let mut hearing = Hearing::default();
        hearing.of(turn);
        loop {
            let request = Request::Send(Box::new(send.clone()));
            let failure = match self.follow(request, &mut hearing, &mut heard).await {
                Err(failure) if failure.code == ErrorCode::BrokerUnreachable => failure,
                ended => return ended,
            };
            let same = self.link.find_again(failure).await?;
            hearing.told_again(same);
            send.again = true;
        }
    }

    async fn follow(
        &mut self,
        request: Request,
        hearing: &mut Hearing,
        heard: &mut impl FnMut(Event),
    ) -> Result<TurnReport, Failure> {
        let client = self.link.client();
        let id = client.ask(request).await?;
        loop {
            match client.next(id).await? {
                Incoming::Event(event) => {
                    if let Some(news) = hearing.hear(event) {
                        heard(news.event);
                    }
                }
                Incoming::Answer(Ok(Reply::Turn(report))) => return Ok(*report),
                Incoming::Answer(Ok(other)) => return Err(unexpected(&other)),
                Incoming::Answer(Err(failure)) => return Err(failure),
            }
        }
    }

    /// The rows of all sessions.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn sessions(&mut self) -> Result<Vec<SessionRow>, Failure> {
        self.link.rows().await
    }

    /// Any other request, over the deaths of brokers.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        self.link.call(request).await
    }
}

impl NewSession {
    /// With this name; otherwise it is the directory's, made unique.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.request.name = Some(name.to_owned());
        self
    }

    /// One that is there already is fine, and is left as it is.
    #[must_use]
    pub fn or_existing(mut self) -> Self {
        self.request.exists_ok = true;
        self
    }

    /// Vouches for the directory: its own hooks and settings will run.
    #[must_use]
    pub fn trusted(mut self) -> Self {
        self.request.trust = true;
        self
    }

    /// With these settings.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.request.settings = settings;
        self
    }
}

/// The report of a turn that has ended well.
fn well(report: TurnReport) -> Result<TurnReport, Failure> {
    if report.outcome == Outcome::Completed {
        return Ok(report);
    }
    Err(report
        .error
        .unwrap_or_else(|| Failure::new(ErrorCode::Internal, "the turn ended for no known reason")))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
