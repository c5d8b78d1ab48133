//! The loop: it waits for a broker, for its words, for a signal or for a deadline, and without one of these it does
//! not wake.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{getpid, getuid};

use crate::agent::Agent;
use crate::control::{Control, Sent};
use crate::descriptors::start_apart;
use crate::ending::{Due, Ending};
use crate::protocol::{Exit, Reason, Refused, Reply, Request, Start, Successor, VERSION, kind};
use crate::tree::{self, Clearing, Rest};

/// What an agent gets when nobody said how long: somebody ends the holder with SIGTERM.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// How long the holder leaves it to others to start a broker: the clients that wait for one notice as soon as it does.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(15);
/// All holders notice at the same moment, and one broker is enough: they take turns, by their pids.
const TURN: Duration = Duration::from_millis(12);
/// How many turns there are.
const TURNS: u32 = 8;

/// Where the holder is in its life; it only goes forward.
enum Phase {
    /// No agent has been started.
    Empty,
    /// The agent lives.
    Holding,
    /// The agent lives and is to end.
    Ending(Ending),
    /// The agent has exited or has been killed; what descends from it is being ended.
    Clearing(Clearing),
    /// Nothing lives, but the broker that is there, or the next one, has not been lent the agent's output, in which it
    /// may have said why it exited.
    Unread { left: bool },
    /// Nothing is left to hold.
    Over,
}

struct Holder {
    signals: SignalFd,
    listener: UnixListener,
    /// None while there is no broker.
    control: Option<Control>,
    agent: Option<Agent>,
    phase: Phase,
    /// Whether the broker that is there has been lent the agent's output.
    lent: bool,
    /// Whether an end was asked for: nobody wants the agent's output any more.
    end_asked: bool,
    /// Whether there may be more to reap: then nothing is waited for.
    hurry: bool,
    /// How another broker is started.
    successor: Successor,
    /// When it is, if none has come by then.
    starts_at: Option<Instant>,
}

/// Holds until nothing is left.
pub(crate) fn hold(listener: UnixListener, signals: SignalFd) {
    let mut holder = Holder {
        signals,
        listener,
        control: None,
        agent: None,
        phase: Phase::Empty,
        lent: false,
        end_asked: false,
        hurry: false,
        successor: Successor::default(),
        starts_at: None,
    };
    // Its broker has connected before it started the holder.
    holder.accept();
    if holder.control.is_none() {
        return;
    }
    while !matches!(holder.phase, Phase::Over) {
        let ready = holder.wait();
        if ready.signals {
            holder.take_signals();
        }
        if ready.words {
            holder.listen();
        }
        if ready.broker {
            holder.accept();
        }
        holder.advance(Instant::now());
    }
}

/// What has happened.
struct Ready {
    signals: bool,
    /// Somebody connects.
    broker: bool,
    /// The broker's bytes are there.
    words: bool,
}

impl Holder {
    fn wait(&self) -> Ready {
        // Without a broker the third one is asked for nothing.
        let (broker, flags) = match &self.control {
            Some(control) => (control.as_fd(), PollFlags::POLLIN),
            None => (self.signals.as_fd(), PollFlags::empty()),
        };
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(broker, flags),
        ];
        // An error of poll's would be an interruption: then nothing is ready, and the loop comes back.
        let _ = poll(&mut fds, self.timeout());
        let [signals, listener, words] = fds.map(|fd| fd.any().unwrap_or(true));
        Ready {
            signals,
            broker: listener,
            words,
        }
    }

    /// Until the next deadline, rounded up so that it has passed on waking; for ever when there is none.
    fn timeout(&self) -> PollTimeout {
        let deadline = match &self.phase {
            _ if self.hurry => return PollTimeout::ZERO,
            Phase::Empty | Phase::Holding | Phase::Unread { .. } | Phase::Over => None,
            Phase::Ending(ending) => Some(ending.deadline()),
            Phase::Clearing(clearing) => Some(clearing.deadline()),
        };
        let Some(deadline) = deadline.into_iter().chain(self.starts_at).min() else {
            return PollTimeout::NONE;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        PollTimeout::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX)
    }

    /// SIGTERM ends; SIGCHLD was only to wake, since every waking reaps; SIGINT and SIGHUP are ignored by this.
    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == (Signal::SIGTERM as i32).unsigned_abs() {
                self.end(DEFAULT_GRACE, false);
            }
        }
    }

    /// Takes the broker that connects, in place of the one before it, which has gone: two would both read. Only the
    /// owner's own processes are brokers.
    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else {
            return; // it has gone again
        };
        let ours =
            getsockopt(&socket, PeerCredentials).is_ok_and(|peer| peer.uid() == getuid().as_raw());
        if ours && socket.set_nonblocking(true).is_ok() {
            self.greet(socket);
        }
    }

    /// Tells it what it has to know.
    fn greet(&mut self, socket: UnixStream) {
        self.control = Some(Control::new(socket));
        self.starts_at = None;
        self.lent = false;
        self.say(&Reply::Hello {
            version: VERSION,
            pid: getpid().as_raw().unsigned_abs(),
        });
        let started = self.agent.as_ref().map(Agent::started);
        let exited = self
            .agent
            .as_ref()
            .and_then(|agent| agent.exit)
            .map(Reply::Exited);
        for reply in started.into_iter().chain(exited) {
            self.say(&reply);
        }
    }

    /// Reads from the broker and does what it asks.
    fn listen(&mut self) {
        if !self.control.as_mut().is_some_and(Control::receive) {
            return self.broker_gone();
        }
        while let Some(request) = self.control.as_mut().and_then(Control::next) {
            match request {
                Ok(Request::Start(start)) => self.start(start),
                Ok(Request::Lend) => self.lend(),
                Ok(Request::End { grace_ms, now }) => {
                    self.end(Duration::from_millis(grace_ms.into()), now)
                }
                Ok(Request::Successor(successor)) => self.successor = successor,
                Err(refused) => self.say(&Reply::Refused(refused)),
            }
        }
    }

    fn start(&mut self, start: Start) {
        if !matches!(self.phase, Phase::Empty) {
            return self.refuse(kind::START);
        }
        let reply = match Agent::start(start) {
            Ok(agent) => {
                let reply = agent.started();
                self.agent = Some(agent);
                self.phase = Phase::Holding;
                reply
            }
            Err(failed) => Reply::Failed(failed),
        };
        self.say(&reply);
    }

    fn lend(&mut self) {
        let Some(agent) = &self.agent else {
            return self.refuse(kind::LEND);
        };
        let (ends, fds) = agent.ends();
        let control = self.control.as_mut();
        match control.map(|control| control.send(&Reply::Lent { ends }, &fds)) {
            Some(Sent::Whole) => {
                self.lent = true;
                self.over_if_read();
            }
            Some(Sent::Stuck) => self.broker_gone(),
            Some(Sent::ToNobody) | None => (),
        }
    }

    /// Begins to end, or makes an end that has begun come sooner.
    fn end(&mut self, grace: Duration, term_now: bool) {
        if let Some(agent) = &mut self.agent {
            agent.close_stdin();
        }
        let ending = Ending::new(Instant::now(), grace, term_now);
        match &mut self.phase {
            Phase::Empty => self.over(false),
            Phase::Holding => self.phase = Phase::Ending(ending),
            Phase::Ending(begun) => begun.sooner(&ending),
            Phase::Clearing(_) | Phase::Unread { .. } | Phase::Over => (),
        }
        self.end_asked = true;
        self.over_if_read();
    }

    /// Reaps, and does what has become due.
    fn advance(&mut self, now: Instant) {
        let reaped = tree::reap(self.agent.as_ref().and_then(Agent::unreaped));
        self.hurry = reaped.rest == Rest::Perhaps;
        if let Some(exit) = reaped.agent {
            self.agent_exited(exit, now);
        }
        match &mut self.phase {
            Phase::Ending(ending) => match ending.due(now) {
                Due::Nothing => (),
                Due::Term => self.signal_agent(Signal::SIGTERM),
                Due::Kill => {
                    self.signal_agent(Signal::SIGKILL);
                    self.phase = Phase::Clearing(Clearing::new(now));
                    self.hurry = true;
                }
            },
            Phase::Clearing(_) if reaped.rest == Rest::Nobody => self.cleared(false),
            Phase::Clearing(clearing) if clearing.given_up(now) => self.cleared(true),
            Phase::Clearing(clearing) => {
                for (pid, signal) in clearing.orders(now, tree::children()) {
                    let _ = kill(pid, signal); // refused by another user's process, which in the end is reported
                }
            }
            Phase::Empty | Phase::Holding | Phase::Unread { .. } | Phase::Over => (),
        }
        if self.starts_at.take_if(|at| *at <= now).is_some() {
            // That it cannot be started is nothing the holder could mend; a client will try.
            let _ = start_apart(&self.successor);
        }
    }

    fn signal_agent(&self, signal: Signal) {
        if let Some(agent) = &self.agent {
            agent.signal(signal);
        }
    }

    /// The agent has been reaped: the broker is told at once, and the rest is ended.
    fn agent_exited(&mut self, exit: Exit, now: Instant) {
        if let Some(agent) = &mut self.agent {
            agent.exit = Some(exit);
        }
        if !matches!(self.phase, Phase::Clearing(_)) {
            self.phase = Phase::Clearing(Clearing::new(now));
        }
        self.say(&Reply::Exited(exit));
    }

    /// The tree is gone, or all of it that could be ended.
    fn cleared(&mut self, left: bool) {
        self.phase = Phase::Unread { left };
        self.over_if_read();
    }

    /// Nothing has to be kept when it has a reader, or nobody wants it.
    fn over_if_read(&mut self) {
        if let Phase::Unread { left } = self.phase
            && (self.lent || self.end_asked)
        {
            self.over(left);
        }
    }

    /// The last word. A broker that has gone at this very moment has not read what the agent has said: it is kept for
    /// the next one, unless nobody wants it.
    fn over(&mut self, left: bool) {
        let exit = self
            .agent
            .as_ref()
            .and_then(|agent| agent.exit)
            .unwrap_or(Exit::Unknown);
        let control = self.control.as_mut();
        let told = control.map(|control| control.send(&Reply::Ended { exit, left }, &[]));
        if told != Some(Sent::Whole) && !self.end_asked {
            // That it has gone is still to be read, and perhaps that it wanted this end.
            self.lent = false;
            return;
        }
        self.phase = Phase::Over;
    }

    fn say(&mut self, reply: &Reply) {
        let control = self.control.as_mut();
        if control.is_some_and(|control| control.send(reply, &[]) == Sent::Stuck) {
            self.broker_gone();
        }
    }

    /// The request is known, but has no sense where the holder is in its life.
    fn refuse(&mut self, kind: u8) {
        self.say(&Reply::Refused(Refused {
            reason: Reason::NotNow,
            kind,
        }));
    }

    /// A broker has gone, by its end or because it does not read: another one is waited for. It cannot know of a
    /// holder without an agent.
    fn broker_gone(&mut self) {
        self.control = None;
        self.lent = false;
        match self.phase {
            Phase::Empty => self.phase = Phase::Over,
            Phase::Over => {}
            _ if self.successor.args.is_empty() || self.end_asked => {}
            _ => {
                let turn = getpid().as_raw().unsigned_abs() % TURNS;
                self.starts_at = Some(Instant::now() + LEFT_TO_OTHERS + TURN * turn);
            }
        }
    }
}
