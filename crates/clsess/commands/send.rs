//! `clsess send`: the main job.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure, OnQuestion, Reply, Request, TurnId};
use tokio::time::Instant;
use uuid::Uuid;

use super::turn::{Printer, in_time};
use super::{ms, new};
use crate::cli::{self, AgentOptions, Send};
use crate::config::Config;
use crate::output::{Output, print};
use crate::prompt;
use crate::signals::Signals;
use clsess_client::client::{Client, Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// How long a broker may take beyond the deadline to say that the turn is given up: it gives
/// the agent some time to end it. A broker that hangs must not make a job hang that has a
/// deadline.
pub const OVERDUE: Duration = Duration::from_secs(20);
/// How long a turn may take when nothing else is said.
const TURN_TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub async fn run(
    mut send: Send,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let config = Config::load(surroundings.config.as_ref())?;
    let resolved = config.resolve(Some(&send.name), &AgentOptions::default())?;
    let prompt = prompt::read(std::mem::take(&mut send.words), send.file.as_deref())?;
    let on_question = on_question(send.on_question.or(resolved.on_question), send.no_wait);
    let mut printer = Printer::new(send.output, output);
    if on_question == OnQuestion::Wait {
        printer.tells_questions();
    }
    let deadline = send.deadline.filter(|deadline| !deadline.is_zero());
    let request = clsess_proto::Send {
        session: send.name.clone(),
        turn: TurnId::random(),
        prompt,
        timeout_ms: ms(send
            .timeout
            .or(resolved.turn_timeout)
            .unwrap_or(TURN_TIMEOUT)),
        deadline_ms: deadline.map_or(0, ms),
        on_busy: send.on_busy.unwrap_or(resolved.on_busy).into(),
        on_question,
        on_limit: send.on_limit.unwrap_or(resolved.on_limit).into(),
        on_crash: send.on_crash.unwrap_or(resolved.on_crash).into(),
        again: false,
        wait: !send.no_wait,
        events: printer.wants_events(),
        texts: printer.wants_texts(),
    };
    let began = Instant::now();
    // One that is too far away to be told is none.
    let give_up = deadline.and_then(|deadline| began.checked_add(deadline.saturating_add(OVERDUE)));
    let sending = Sending {
        client: in_time(give_up, Client::connect(surroundings, Start::IfMissing)).await?,
        began,
        surroundings,
        creates: send.create || config.declares(&request.session),
        sent: false,
        asked: false,
        config,
        request,
    };
    if let Some(give_up) = give_up {
        printer.gives_up(give_up);
    }
    begin(&send, sending, printer, give_up).await
}

async fn begin(
    send: &Send,
    mut sending: Sending<'_>,
    mut printer: Printer,
    give_up: Option<Instant>,
) -> Result<u8, Failure> {
    if let Some(key) = &send.key {
        let session_id = in_time(give_up, sending.session_id()).await?;
        sending.request.turn = TurnId::from_key(session_id, key);
    }
    if send.no_wait {
        return in_time(give_up, sending.no_wait()).await;
    }
    printer.follows(sending.request.turn);
    sending.wait(printer).await
}

/// The policy for questions when the command line and the config say nothing: somebody at a
/// terminal can answer.
fn on_question(said: Option<cli::OnQuestion>, no_wait: bool) -> OnQuestion {
    match said {
        Some(policy) => policy.into(),
        None if !no_wait && io::stderr().is_terminal() => OnQuestion::Wait,
        None => OnQuestion::Deny,
    }
}

struct Sending<'a> {
    client: Client,
    surroundings: &'a Surroundings,
    config: Config,
    began: Instant,
    /// A missing session is made.
    creates: bool,
    /// The prompt may be with a broker.
    sent: bool,
    /// It was asked for before.
    asked: bool,
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

    /// The request, with what is left of its deadline.
    fn send(&self) -> Request {
        let mut request = self.request.clone();
        request.again = self.asked;
        if request.deadline_ms > 0 {
            let left = request.deadline_ms.saturating_sub(ms(self.began.elapsed()));
            request.deadline_ms = left.max(1);
        }
        Request::Send(Box::new(request))
    }

    /// When the turn is given up; a session that it needs may have to wait for room.
    fn deadline(&self) -> Option<Instant> {
        let after = self.request.deadline_ms;
        (after > 0).then(|| self.began + Duration::from_millis(after))
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
            let link = Link::connect(self.surroundings, Start::IfMissing);
            let mut link = in_time(self.deadline(), link).await?;
            let made = Box::pin(new::make(&mut link, request));
            in_time(self.deadline(), made).await?;
            self.creates = false;
            return Ok(true);
        }
        // A session that is missing after that has been killed, perhaps after it ran
        // the prompt.
        self.creates &= !self.sent;
        let same = self
            .client
            .again(self.surroundings, Start::IfMissing, failure)
            .await?;
        self.asked = self.sent;
        Ok(same)
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
