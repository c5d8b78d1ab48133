//! What all commands of a pipe share, and its bounds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure, OnQuestion, Reply, Request, TurnId};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::command::{About, Send};
use super::said::{Line, Said, remark};
use super::session::{Session, locked};
use crate::cli::{self, AgentOptions};
use crate::commands::{kill, ms, new};
use crate::config::{Config, Resolved};
use crate::output::Output;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// How long a turn may take when nothing else is said: as row A has it.
const TURN_TIMEOUT: Duration = Duration::from_secs(120);
/// Turns that are with the broker at a time, each with a connection; more wait here.
const MAX_TURNS: usize = 64;
/// Other commands that are under way at a time, of which none waits for a turn that would need
/// another one; more wait.
const MAX_VERBS: usize = 16;
/// How long the agent of a session may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What all commands of a pipe share.
pub struct Shared {
    pub surroundings: Surroundings,
    pub output: Output,
    pub config: Config,
    pub options: cli::Pipe,
    pub said: Said,
    pub turns: Arc<Semaphore>,
    pub verbs: Semaphore,
    /// Nothing is begun any more.
    pub ending: watch::Sender<bool>,
    /// The sessions that were missing and are made by this pipe.
    pub made: Mutex<Vec<Uuid>>,
}

impl Shared {
    /// With nothing under way.
    pub fn new(
        surroundings: &Surroundings,
        output: &Output,
        config: Config,
        options: cli::Pipe,
        said: Said,
    ) -> Self {
        Self {
            surroundings: surroundings.clone(),
            output: *output,
            config,
            options,
            said,
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            verbs: Semaphore::new(MAX_VERBS),
            ending: watch::Sender::new(false),
            made: Mutex::default(),
        }
    }

    /// The request that makes a session, where it may be made.
    pub fn makes(&self, session: &Session) -> Result<Option<clsess_proto::New>, Failure> {
        let name = session.name.as_str();
        if !(session.own && self.options.create || self.config.declares(name)) {
            return Ok(None);
        }
        let mut request = match session.own {
            true => new::request(&self.config, Some(name), &self.options.agent)?,
            false => new::request(&self.config, Some(name), &AgentOptions::default())?,
        };
        request.exists_ok = true;
        if session.own {
            request.resume = self.options.resume;
            request.trust |= self.options.trust;
        }
        Ok(Some(request))
    }

    /// What the config says of a session.
    fn resolved(&self, session: &Session) -> Result<Resolved, Failure> {
        let none = AgentOptions::default();
        let line = if session.own {
            &self.options.agent
        } else {
            &none
        };
        self.config.resolve(Some(&session.name), line)
    }

    pub fn start_timeout_ms(&self, session: &Session) -> Result<u64, Failure> {
        Ok(ms(self.resolved(session)?.start_timeout))
    }

    /// The answer to `shutdown`: row A has none, but for what goes wrong.
    pub async fn last_line(&self, about: &About, ended: Result<Vec<()>, Failure>) {
        match ended {
            Err(failure) => self.said.fails(about, &failure, None).await,
            Ok(_) if about.id.is_some() => {
                let body = serde_json::Map::new();
                self.said.say(about, Line::Ok { body }).await;
            }
            Ok(_) => {}
        }
    }

    /// Kills the sessions that this pipe has made, and says how to take them up again.
    pub async fn kill_what_was_made(&self) -> Result<(), Failure> {
        let made = std::mem::take(&mut *locked(&self.made));
        if made.is_empty() {
            return Ok(());
        }
        let mut link = Link::connect(&self.surroundings, Start::IfMissing).await?;
        let request = Request::Kill {
            sessions: made.iter().map(ToString::to_string).collect(),
            all: false,
            grace_ms: ms(GRACE),
        };
        let killed = match link.call(request).await? {
            Reply::Killed { sessions } => sessions,
            other => return Err(unexpected(&other)),
        };
        for session in killed {
            match session.error {
                // Somebody else has.
                Some(failure) if failure.code == ErrorCode::NoSuchSession => {}
                Some(failure) => return Err(failure),
                None if self.output.quiet => {}
                None => remark(&format!("clsess: {}\n", kill::resume(&session))),
            }
        }
        Ok(())
    }

    /// The request for a turn, as the line says it, else the config.
    pub fn request(
        &self,
        session: &Session,
        id: String,
        turn: TurnId,
        prompt: String,
        send: &Send,
    ) -> Result<clsess_proto::Send, Failure> {
        let resolved = self.resolved(session)?;
        let timeout = send
            .timeout
            .or(self.options.timeout)
            .or(resolved.turn_timeout);
        let on_question = send.on_question.or(resolved.on_question);
        Ok(clsess_proto::Send {
            session: id,
            turn,
            prompt,
            timeout_ms: ms(timeout.unwrap_or(TURN_TIMEOUT)),
            deadline_ms: send.deadline.map_or(0, ms),
            on_busy: send.on_busy.unwrap_or(resolved.on_busy).into(),
            // The plain protocol has no answer to a question.
            on_question: on_question.map_or(OnQuestion::Deny, Into::into),
            on_limit: send.on_limit.unwrap_or(resolved.on_limit).into(),
            on_crash: send.on_crash.unwrap_or(resolved.on_crash).into(),
            again: false,
            wait: true,
            events: true,
            texts: true,
        })
    }
}
