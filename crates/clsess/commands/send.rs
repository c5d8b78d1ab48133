//! `clsess send`: the main job.

use clsess_proto::{ErrorCode, Failure, OnQuestion, Reply, Request, TurnId};
use uuid::Uuid;

use super::turn::Printer;
use super::{ms, new};
use crate::cli::{self, AgentOptions, Send};
use crate::client::{Client, Start, unexpected};
use crate::config::Config;
use crate::output::{Output, print};
use crate::prompt;
use crate::signals::Signals;
use crate::surroundings::Surroundings;

pub async fn run(send: Send, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    let config = Config::load(surroundings.config.as_ref())?;
    let resolved = config.resolve(Some(&send.name), &AgentOptions::default())?;
    let prompt = prompt::read(send.words, send.file.as_deref())?;
    let printer = Printer::new(send.output, output);
    let on_question = match send.on_question.unwrap_or(resolved.on_question) {
        cli::OnQuestion::Deny => OnQuestion::Deny,
        cli::OnQuestion::Fail => OnQuestion::Fail,
    };
    let request = clsess_proto::Send {
        session: send.name,
        turn: TurnId::random(),
        prompt,
        timeout_ms: ms(send.timeout.unwrap_or(resolved.turn_timeout)),
        on_question,
        wait: !send.no_wait,
        events: printer.wants_events(),
        texts: printer.wants_texts(),
    };
    let mut sending = Sending {
        client: Client::connect(surroundings, Start::IfMissing).await?,
        creates: send.create || config.declares(&request.session),
        config,
        request,
    };
    if let Some(key) = &send.key {
        let session_id = sending.session_id().await?;
        sending.request.turn = TurnId::from_key(session_id, key);
    }
    if send.no_wait {
        return sending.no_wait().await;
    }
    sending.wait(printer).await
}

struct Sending {
    client: Client,
    config: Config,
    creates: bool,
    request: clsess_proto::Send,
}

impl Sending {
    /// The session's id; makes the session where that is wanted.
    async fn session_id(&mut self) -> Result<Uuid, Failure> {
        let session = self.request.session.clone();
        match self.client.call(Request::Show { session }).await {
            Ok(Reply::Detail(detail)) => Ok(detail.row.id),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => {
                self.create_after(failure).await?;
                let session = self.request.session.clone();
                match self.client.call(Request::Show { session }).await? {
                    Reply::Detail(detail) => Ok(detail.row.id),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// Makes the session when that is why `failure` came and may be done.
    async fn create_after(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.code != ErrorCode::NoSuchSession || !self.creates {
            return Err(failure);
        }
        let name = self.request.session.as_str();
        let mut request = new::request(&self.config, Some(name), &AgentOptions::default())?;
        request.exists_ok = true;
        new::make(&mut self.client, request).await?;
        Ok(())
    }

    fn ask(&self) -> Request {
        Request::Send(Box::new(self.request.clone()))
    }

    async fn no_wait(&mut self) -> Result<u8, Failure> {
        let reply = match self.client.call(self.ask()).await {
            Err(failure) => {
                self.create_after(failure).await?;
                self.client.call(self.ask()).await
            }
            reply => reply,
        };
        match reply? {
            Reply::Accepted { turn } => {
                print(&format!("{turn}\n"));
                Ok(0)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Follows the turn to its end. The first signal takes the turn back or
    /// interrupts it; a second one leaves at once.
    async fn wait(mut self, mut printer: Printer) -> Result<u8, Failure> {
        let mut signals =
            Signals::catch().map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        let request = self.ask();
        let mut id = self.client.ask(request).await?;
        let mut may_create = true;
        let mut signalled = None;
        loop {
            let code = tokio::select! {
                code = printer.follow(&mut self.client, id) => code,
                code = signals.next() => {
                    if let Some(code) = signalled.replace(code) {
                        return Ok(code);
                    }
                    let cancel = Request::Cancel {
                        session: self.request.session.clone(),
                        turn: self.request.turn,
                    };
                    self.client.ask(cancel).await?;
                    continue;
                }
            };
            return match (code, signalled) {
                // That the turn ended by our own doing is no news.
                (_, Some(code)) => Ok(code),
                (Err(failure), None) if may_create => {
                    may_create = false;
                    self.create_after(failure).await?;
                    let request = self.ask();
                    id = self.client.ask(request).await?;
                    continue;
                }
                (code, None) => code,
            };
        }
    }
}
