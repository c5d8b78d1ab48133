//! The hot swap: a session whose agent speaks lines of JSON has the agent's own interface for as long
//! as somebody is attached to it. The conversation, its id and the queue stay.
//!
//! The body of a session with a child for each turn gives way to the next one when its turn is over.
//!
//! A body is changed between turns only. Who comes while a turn runs looks at its words meanwhile
//! ([`Lobby`]), and may answer its questions there.

use std::future::pending;
use std::os::fd::OwnedFd;

use clsess_claude::turn::Happening;
use clsess_claude::version::{RECORDED, Version};
use clsess_holder::protocol::Window;
use clsess_proto::{
    Attach, DetachReason, Detached, Driver, ErrorCode, Failure, Question, QuestionKind,
};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::ending::EndWhy;
use super::launch;
use super::life::{Event, Life};
use super::questions::Decision;
use super::task::Session;
use crate::driver::body::Body;
use crate::screen::{Face, Screen};

/// How long an agent may take to end that gives way to another body of its session, in
/// milliseconds, before it is told to by a signal. Measured: 40 to 70 ms for a stream's, 300 ms for
/// the interface.
const GRACE_MS: u32 = 10_000;
/// Those that may wait for one interface; more are refused.
const MAX_COMING: usize = 64;
/// How long those may take to come again whose broker has died, or was replaced.
const COME_AGAIN: Duration = Duration::from_secs(5);
/// Rows of history of a lobby.
const HISTORY: usize = 1000;

/// One that waits for the interface.
#[derive(Debug)]
pub(super) struct Coming {
    attach: Box<Attach>,
    terminal: OwnedFd,
    left: oneshot::Sender<Result<Detached, Failure>>,
}

/// Where those look who wait for the end of a turn.
#[derive(Debug)]
pub(super) struct Lobby {
    screen: Screen,
    /// The question whose keys are taken.
    asks: Option<Question>,
}

impl Lobby {
    fn new(name: &str) -> Self {
        let window = Window {
            rows: 24,
            cols: 80,
            ..Window::default()
        };
        let mut lobby = Self {
            screen: Screen::new(window, HISTORY),
            asks: None,
        };
        lobby.say(&format!(
            "\x1b[2m{name} is at work. What it says comes here, and its interface when it is done.\x1b[m\n\n"
        ));
        lobby
    }

    fn say(&mut self, text: &str) {
        let _ = self.screen.feed(text.replace('\n', "\r\n").as_bytes());
    }

    /// What the agent says: none of its control characters.
    fn quote(&mut self, text: &str) {
        let plain = |c: char| {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                '\u{fffd}'
            } else {
                c
            }
        };
        let text: String = text.chars().map(plain).collect();
        self.say(&text);
    }

    fn ask(&mut self, question: &Question) {
        self.quote(&format!("\n{}\n", question.text));
        let keys = match question.kind {
            QuestionKind::Question => {
                for (number, option) in question.options.iter().enumerate().take(9) {
                    self.quote(&format!("  {} {option}\n", number + 1));
                }
                "its number answers, n refuses"
            }
            _ => "y says yes, n no",
        };
        self.say(&format!("\x1b[2m({keys})\x1b[m\n"));
        self.asks = Some(question.clone());
    }

    /// What a key says to the question.
    fn decision(&self, keys: &[u8]) -> Option<(String, Decision)> {
        let question = self.asks.as_ref()?;
        let [key] = keys else { return None };
        let decision = match (key, question.kind) {
            (b'n' | b'N', _) => Decision::Deny { message: None },
            (b'y' | b'Y', QuestionKind::Permission | QuestionKind::Plan) => {
                Decision::Approve { always: false }
            }
            (b'1'..=b'9', QuestionKind::Question)
                if usize::from(key - b'0') <= question.options.len() =>
            {
                Decision::Answer(vec![char::from(*key).to_string()])
            }
            _ => return None,
        };
        Some((question.id.clone(), decision))
    }
}

/// Waits for what comes of those in the lobby.
pub(super) async fn of_lobby(lobby: Option<&mut Lobby>) -> Face {
    match lobby {
        Some(lobby) => lobby.screen.next(true).await,
        None => pending().await,
    }
}

impl Session {
    /// What its body is when nobody is attached.
    pub(super) fn own_driver(&self) -> Driver {
        self.record.settings.driver.unwrap_or_default()
    }

    /// How many are attached, or are about to be.
    pub(super) fn attached(&mut self) -> usize {
        let lobby = self.lobby.as_ref().map_or(0, |it| it.screen.attached());
        let shown = self.body.as_mut().and_then(Body::shown);
        let interface = shown.map_or(0, |shown| shown.attached());
        self.coming.len() + lobby + interface
    }

    /// Somebody wants to see the agent's interface.
    pub(super) fn attach(
        &mut self,
        attach: Box<Attach>,
        terminal: OwnedFd,
        left: oneshot::Sender<Result<Detached, Failure>>,
    ) {
        let leaving = self.life == Life::Ending || self.ending.is_some();
        let shown = self.body.as_mut().and_then(Body::shown);
        if let Some(shown) = shown.filter(|_| !leaving) {
            shown.attach(&attach, terminal, left);
            return;
        }
        if let Some(why @ (EndWhy::Kill | EndWhy::Stop)) = self.ending {
            let _ = left.send(Err(why.failure()));
            return;
        }
        if self.life != Life::Ending && self.is_at_work() {
            let name = &self.record.name;
            let lobby = self.lobby.get_or_insert_with(|| Lobby::new(name));
            lobby.screen.attach(&attach, terminal, left);
            if lobby.asks.is_none()
                && let Some(open) = self.questions.open.first()
            {
                lobby.ask(&open.told);
            }
            return;
        }
        if self.background > 0 && !attach.anyway {
            let message = format!(
                "{} works in the background ({}), which would end: its interface is another process",
                self.record.name, self.background
            );
            let hint = format!(
                "wait for it, or: clsess attach --anyway {}",
                self.record.name
            );
            let _ = left.send(Err(Failure::new(ErrorCode::Busy, message).hint(hint)));
            return;
        }
        if self.coming.len() >= MAX_COMING {
            let message = "too many wait already for this interface";
            let _ = left.send(Err(Failure::new(ErrorCode::TooMany, message)));
            return;
        }
        self.coming.push(Coming {
            attach,
            terminal,
            left,
        });
        self.swap_if_due();
    }

    /// A turn runs, or something that nobody asked for.
    fn is_at_work(&self) -> bool {
        self.running.is_some()
            || self.unasked.is_some()
            || !self.questions.open.is_empty()
            || matches!(self.life, Life::Working | Life::Settling)
    }

    /// The body that the session should have.
    pub(super) fn wanted_body(&mut self) -> Driver {
        self.coming.retain(|coming| !coming.left.is_closed());
        // What a dead agent has left of a turn is cut off by options that the interface does not have.
        let next = self.queue.iter().find(|queued| !self.is_held(queued));
        let cuts = next.is_some_and(|next| next.terms.left.is_some());
        match self.own_driver() {
            own if own.is_program() => own,
            Driver::Tui if cuts => Driver::Stream,
            own if cuts || self.attached() == 0 => own,
            _ => Driver::Tui,
        }
    }

    /// The body that takes the place of the one that is there. While something works in the background,
    /// which would end with its process, that is none; who comes meanwhile was asked.
    fn next_body(&mut self) -> Option<Driver> {
        let wanted = self.wanted_body();
        if self.comes_again.is_some() && wanted != Driver::Tui {
            return None;
        }
        let asked = wanted == Driver::Tui && !self.coming.is_empty();
        let works = self.body.is_some() && self.background > 0;
        let other = wanted != self.embodied || self.is_used_up();
        (other && (asked || !works)).then_some(wanted)
    }

    /// Nobody waits for the body that is about to be there.
    pub(super) fn starts_ahead(&self) -> bool {
        self.embodied == Driver::Oneshot && self.record.began && !self.is_wanted()
    }

    /// Its body is for one turn, and has had one.
    pub(super) fn is_used_up(&self) -> bool {
        self.embodied == Driver::Oneshot && self.body.is_some() && self.used
    }

    /// Whether the body gives way to another one: nothing more is given to it.
    pub(super) fn gives_way_to_another(&mut self) -> bool {
        self.next_body().is_some()
    }

    /// Changes the body, when that can be done now.
    pub(super) fn swap_if_due(&mut self) {
        self.comes_again.take_if(|by| *by <= Instant::now());
        if self.attached() > 0 {
            self.comes_again = None;
        }
        let Some(next) = self.next_body() else {
            self.leaves_lobby();
            if !self.coming.is_empty() && matches!(self.life, Life::Asleep | Life::Failed) {
                // Somebody wants to see what there is none of now.
                self.want();
            }
            return;
        };
        match self.life {
            Life::Asleep | Life::Failed | Life::Waiting => {
                self.embodied = next;
                if self.attached() > 0 {
                    self.step(Event::Wanted);
                }
            }
            Life::Idle if !self.is_at_work() => self.swap(),
            // Nobody waits any more for an interface that asks something at its start.
            Life::Starting if next != Driver::Tui && self.body.is_some() => self.swap(),
            _ => {}
        }
    }

    /// Who waits for the end of a turn does not wait for what goes on in the background behind it.
    fn leaves_lobby(&mut self) {
        let rests = self.life == Life::Idle && !self.is_at_work() && self.background > 0;
        let name = &self.record.name;
        if let Some(lobby) = self.lobby.as_mut().filter(|_| rests) {
            lobby.say(&format!(
                "\n{name} works in the background, which would end with it: clsess attach --anyway {name}\n"
            ));
            lobby
                .screen
                .detach_all(&Detached::because(DetachReason::Asked));
        }
    }

    /// An earlier broker has left an interface that somebody may have been attached to: they come again.
    pub(super) fn may_come_again(&mut self) {
        if self.driver() != self.own_driver() {
            self.comes_again = Some(Instant::now() + COME_AGAIN);
        }
    }

    pub(super) fn swap(&mut self) {
        if let Some(body) = &self.body {
            // A broker that dies now is followed by one that does not take it for an accident.
            launch::remember_sleep(&self.dir, body);
        }
        self.ending = Some(EndWhy::Swap);
        self.end_in(GRACE_MS);
        self.step(Event::End);
    }

    /// The body before is gone.
    pub(super) fn swapped(&mut self) {
        self.takes_model_over();
        self.embodied = self.wanted_body();
        // It was warm, and is again.
        self.step(Event::Wanted);
    }

    /// The interface has ended by itself: the mode that somebody may have chosen behind its last turn, which
    /// no hook tells, is the session's. The client has written it at its end (measured), but for a
    /// conversation without a turn, of which is known what it has `shown`.
    pub(super) fn takes_mode_over(&mut self, shown: Option<&str>) {
        let home = self.agent_home.as_ref();
        let written = home.and_then(|home| launch::last_mode(home, &self.record));
        if let Some(mode) = written.or_else(|| shown.map(str::to_owned)) {
            self.has_mode(&mode);
        }
    }

    /// A model that somebody has chosen at the screen is that of the session. Of versions without a hook
    /// for it only the transcript tells it, behind a turn.
    fn takes_model_over(&mut self) {
        let line = self.line_of_interface.take();
        let Some(line) = line.filter(|_| !self.tells_all()) else {
            return;
        };
        let home = self.agent_home.as_ref();
        let end = home.and_then(|home| launch::ended_earlier(home, &self.record, line));
        let Some(model) = end.and_then(|end| end.model) else {
            return;
        };
        // Without a turn in another body nobody knows what it was before.
        if self
            .model
            .replace(model.clone())
            .is_some_and(|before| before != model)
        {
            self.record.settings.model = Some(model);
            self.save_record();
        }
    }

    /// Whether its interface tells by itself what it does, and all that is chosen there but the mode.
    fn tells_all(&self) -> bool {
        let version = self.agent_version.as_ref().and_then(|it| it.parse().ok());
        version.is_some_and(|version: Version| version >= RECORDED)
    }

    /// What is known of the interface by its version: its keys, and whether its state is heard from its
    /// registry, since it may not tell it by itself.
    pub(super) fn is_of_version(&mut self, begins: bool) {
        let tells_all = self.tells_all();
        let Some(Body::Tui(body)) = &mut self.body else {
            return;
        };
        body.knows_other_enter(tells_all);
        if let Some(home) = self.agent_home.as_ref().filter(|_| !tells_all) {
            body.watch(home.registry_dir(), begins);
        }
    }

    /// The interface is there: whoever has waited for it looks at it, ready or not.
    pub(super) fn is_embodied(&mut self) {
        let Some(shown) = self.body.as_mut().and_then(Body::shown) else {
            return;
        };
        for coming in self.coming.drain(..) {
            shown.attach(&coming.attach, coming.terminal, coming.left);
        }
        if let Some(mut lobby) = self.lobby.take() {
            // They come again by themselves.
            tokio::spawn(async move {
                lobby
                    .screen
                    .detach_all(&Detached::because(DetachReason::Restarted));
                while lobby.screen.attached() > 0 {
                    let _ = lobby.screen.next(false).await;
                }
            });
        }
    }

    /// There will be no interface.
    pub(super) fn is_not_embodied(&mut self, why: &Failure) {
        for coming in self.coming.drain(..) {
            let _ = coming.left.send(Err(why.clone()));
        }
        if let Some(lobby) = &mut self.lobby {
            lobby.say(&format!("\n{}\n", why.message));
            lobby
                .screen
                .detach_all(&Detached::because(DetachReason::Gone));
        }
    }

    /// The size that the interface is to have from its beginning.
    pub(super) fn first_window(&self) -> Option<Window> {
        let coming = self.coming.iter().find(|coming| !coming.attach.read_only)?;
        let size = rustix::termios::tcgetwinsize(&coming.terminal).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(Window {
            rows: size.ws_row,
            cols: size.ws_col,
            width: size.ws_xpixel,
            height: size.ws_ypixel,
        })
    }

    // ---- the lobby ----

    /// Those in the lobby hear what happens.
    pub(super) fn heard_in_lobby(&mut self, happening: &Happening) {
        let Some(lobby) = &mut self.lobby else { return };
        match happening {
            Happening::MessageStart { .. } => lobby.say("\n"),
            Happening::Text { delta, .. } => lobby.quote(delta),
            Happening::Tool {
                subagent: false,
                name,
                ..
            } => lobby.quote(&format!("\n[{name}]\n")),
            _ => {}
        }
    }

    /// And what the agent wants to know.
    pub(super) fn asked_in_lobby(&mut self) {
        let open = self.questions.open.first().map(|open| open.told.clone());
        let Some(lobby) = &mut self.lobby else { return };
        match open {
            Some(open) if lobby.asks.as_ref().is_none_or(|asks| asks.id != open.id) => {
                lobby.ask(&open);
            }
            Some(_) => {}
            None => lobby.asks = None,
        }
    }

    /// What those in the lobby do.
    pub(super) fn in_lobby(&mut self, face: Face) {
        let Some(lobby) = &mut self.lobby else { return };
        match face {
            Face::Typed(keys) => {
                if let Some((id, decision)) = lobby.decision(&keys) {
                    let said = self.decide(Some(&id), decision, false);
                    if let (Err(failure), Some(lobby)) = (said, &mut self.lobby) {
                        lobby.say(&format!("{}\n", failure.message));
                    }
                    self.asked_in_lobby();
                }
            }
            Face::Resized(window) => lobby.screen.resize(window),
            Face::Left if lobby.screen.attached() == 0 => self.lobby = None,
            Face::Answered(_) | Face::Left => {}
        }
    }
}
