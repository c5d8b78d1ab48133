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
    let mut printer = Printer::new(send.output, output);
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
        surroundings,
        creates: send.create || config.declares(&request.session),
        sent: false,
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
    printer.follows(sending.request.turn);
    sending.wait(printer).await
}

struct Sending<'a> {
    client: Client,
    surroundings: &'a Surroundings,
    config: Config,
    /// A missing session is made.
    creates: bool,
    /// The prompt may be with a broker.
    sent: bool,
    request: clsess_proto::Send,
}

impl Sending<'_> {
    /// The session's id; makes the session where that is wanted.
    async fn session_id(&mut self) -> Result<Uuid, Failure> {
        let show = |this: &Self| Request::Show {
            session: this.request.session.clone(),
        };
        match self.call(show).await? {
            Reply::Detail(detail) => Ok(detail.row.id),
            other => Err(unexpected(&other)),
        }
    }

    async fn no_wait(&mut self) -> Result<u8, Failure> {
        self.sent = true;
        match self.call(Self::send).await? {
            Reply::Accepted { turn } => {
                print(&format!("{turn}\n"));
                Ok(0)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn send(&self) -> Request {
        Request::Send(Box::new(self.request.clone()))
    }

    fn cancel(&self) -> Request {
        Request::Cancel {
            session: self.request.session.clone(),
            turn: self.request.turn,
        }
    }

    /// Asks until there is an answer, or a failure that cannot be mended.
    async fn call(&mut self, request: impl Fn(&Self) -> Request) -> Result<Reply, Failure> {
        loop {
            match self.client.call(request(self)).await {
                Err(failure) => {
                    self.mend(failure).await?;
                }
                reply => return reply,
            }
        }
    }

    /// Does what makes it worth to ask the same again: makes a missing session where
    /// that is wanted, finds a lost broker. Whether the broker is still the same.
    async fn mend(&mut self, failure: Failure) -> Result<bool, Failure> {
        if failure.code == ErrorCode::NoSuchSession && self.creates {
            let name = self.request.session.as_str();
            let mut request = new::request(&self.config, Some(name), &AgentOptions::default())?;
            request.exists_ok = true;
            new::make(&mut self.client, request).await?;
            self.creates = false;
            return Ok(true);
        }
        // A session that is missing after that has been killed, perhaps after it ran
        // the prompt.
        self.creates &= !self.sent;
        self.client.again(self.surroundings, failure).await
    }

    /// Follows the turn to its end. The first signal takes the turn back or
    /// interrupts it; a second one leaves at once, and so does the first where there
    /// is nothing to take back.
    async fn wait(mut self, mut printer: Printer) -> Result<u8, Failure> {
        let mut signals =
            Signals::catch().map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        let mut leaving = None;
        loop {
            let followed = self.follow(&mut printer, &mut signals, &mut leaving);
            let failure = match (followed.await, leaving) {
                (Err(failure), None) => failure,
                (Err(failure), Some(_)) if failure.code == ErrorCode::BrokerUnreachable => failure,
                // That the turn ended by our own doing is no news.
                (_, Some(code)) => return Ok(code),
                (Ok(code), None) => return Ok(code),
            };
            let takes_back = failure.code == ErrorCode::BrokerUnreachable;
            let same = loop {
                tokio::select! {
                    mended = self.mend(failure.clone()) => match (mended, leaving) {
                        (Ok(same), _) => break same,
                        (Err(_), Some(code)) => return Ok(code),
                        (Err(failure), None) => return Err(failure),
                    },
                    code = signals.next() => {
                        if !takes_back || leaving.is_some() {
                            return Ok(leaving.unwrap_or(code));
                        }
                        leaving = Some(code);
                    }
                }
            };
            printer.told_again(same);
        }
    }

    /// The same on one connection; the exit code, as soon as it is known. With
    /// `leaving` the turn is only to be taken back.
    async fn follow(
        &mut self,
        printer: &mut Printer,
        signals: &mut Signals,
        leaving: &mut Option<u8>,
    ) -> Result<u8, Failure> {
        self.sent = true;
        let mut request = match leaving {
            None => self.send(),
            Some(_) => self.cancel(),
        };
        let mut id = None;
        loop {
            let step = async {
                // In here: the socket of a broker that hangs may take nothing.
                let asked = self.client.ask(request).await?;
                printer
                    .follow(&mut self.client, *id.get_or_insert(asked))
                    .await
            };
            tokio::select! {
                // First the signals: text that comes and comes must not keep them waiting.
                biased;
                code = signals.next() => {
                    if printer.arrived() || leaving.is_some() {
                        return Ok(leaving.unwrap_or(code));
                    }
                    *leaving = Some(code);
                    printer.hurry();
                    request = self.cancel();
                }
                done = step => return done,
            }
        }
    }
}
