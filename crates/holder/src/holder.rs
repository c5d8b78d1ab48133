//! The loop: it waits for the broker, for a signal or for a deadline, and without one of these it does not wake.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;

use crate::agent::Agent;
use crate::control::Control;
use crate::ending::{Due, Ending};
use crate::protocol::{Exit, Reason, Refused, Reply, Request, Start, VERSION, kind};
use crate::tree::{self, Clearing, Rest};

/// What an agent gets when nobody said how long: the broker has gone, or somebody ends the holder with SIGTERM.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

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
    /// Nothing lives, but nobody has been lent the agent's output, in which it may have said why it exited.
    Unread { left: bool },
    /// Nothing is left to hold.
    Over,
}

struct Holder {
    signals: SignalFd,
    /// None after the broker has gone.
    control: Option<Control>,
    agent: Option<Agent>,
    phase: Phase,
    /// Whether the agent's output has a reader, or is wanted by nobody: it was lent once, or an end was asked for.
    settled: bool,
    /// Whether there may be more to reap: then nothing is waited for.
    hurry: bool,
}

/// Holds until nothing is left.
pub(crate) fn hold(socket: UnixStream, signals: SignalFd) {
    let control = Some(Control::new(socket));
    let mut holder = Holder {
        signals,
        control,
        agent: None,
        phase: Phase::Empty,
        settled: false,
        hurry: false,
    };
    holder.say(&Reply::Hello { version: VERSION });
    while !matches!(holder.phase, Phase::Over) {
        let (signalled, spoken_to) = holder.wait();
        if signalled {
            holder.take_signals();
        }
        if spoken_to {
            holder.listen();
        }
        holder.advance(Instant::now());
    }
}

impl Holder {
    /// Waits until something happens: whether signals, and whether the broker's bytes are there.
    fn wait(&self) -> (bool, bool) {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        // An error of poll's would be an interruption: then nothing is ready, and the loop comes back.
        match &self.control {
            Some(control) => {
                let mut fds = [signals, PollFd::new(control.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, self.timeout());
                (ready(&fds[0]), ready(&fds[1]))
            }
            None => {
                let mut fds = [signals];
                let _ = poll(&mut fds, self.timeout());
                (ready(&fds[0]), false)
            }
        }
    }

    /// Until the next deadline, rounded up so that it has passed on waking; for ever when there is none.
    fn timeout(&self) -> PollTimeout {
        let deadline = match &self.phase {
            _ if self.hurry => return PollTimeout::ZERO,
            Phase::Empty | Phase::Holding | Phase::Unread { .. } | Phase::Over => {
                return PollTimeout::NONE;
            }
            Phase::Ending(ending) => ending.deadline(),
            Phase::Clearing(clearing) => clearing.deadline(),
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
                let reply = Reply::Started {
                    pid: agent.pid.as_raw().unsigned_abs(),
                    start_time: agent.start_time,
                };
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
        let sent = self
            .control
            .as_mut()
            .is_none_or(|control| control.send(&Reply::Lent { ends }, &fds));
        if sent {
            self.settle()
        } else {
            self.broker_gone()
        }
    }

    /// From now on nothing has to be kept for a reader.
    fn settle(&mut self) {
        self.settled = true;
        if let Phase::Unread { left } = self.phase {
            self.over(left);
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
        self.settle();
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
            agent.close_stdin();
        }
        if !matches!(self.phase, Phase::Clearing(_)) {
            self.phase = Phase::Clearing(Clearing::new(now));
        }
        self.say(&Reply::Exited(exit));
    }

    /// The tree is gone, or all of it that could be ended.
    fn cleared(&mut self, left: bool) {
        self.phase = Phase::Unread { left };
        if self.settled {
            self.over(left);
        }
    }

    /// The last word.
    fn over(&mut self, left: bool) {
        self.phase = Phase::Over;
        let exit = self
            .agent
            .as_ref()
            .and_then(|agent| agent.exit)
            .unwrap_or(Exit::Unknown);
        self.say(&Reply::Ended { exit, left });
    }

    fn say(&mut self, reply: &Reply) {
        let sent = self
            .control
            .as_mut()
            .is_none_or(|control| control.send(reply, &[]));
        if !sent {
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

    /// The policy for a broker that has gone, by its end or because it does not read: everything ends. A holder that
    /// listens on a socket of its own would wait here for the next broker.
    fn broker_gone(&mut self) {
        self.control = None;
        self.end(DEFAULT_GRACE, false);
    }
}
