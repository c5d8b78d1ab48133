//! The timetable of ending the agent: its input is closed, it gets a part of the grace to exit by itself, then
//! SIGTERM, then SIGKILL. Pure: it is told the time.

use std::time::{Duration, Instant};

/// The longest that an agent is left to see the end of its input by itself. An idle one needs 0.1 s.
const BY_ITSELF: Duration = Duration::from_secs(2);

/// When the agent gets which signal.
#[derive(Debug)]
pub(crate) struct Ending {
    /// None when SIGTERM has been sent.
    term_at: Option<Instant>,
    kill_at: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Term,
    Kill,
}

impl Ending {
    pub(crate) fn new(now: Instant, grace: Duration, term_now: bool) -> Self {
        let by_itself = if term_now {
            Duration::ZERO
        } else {
            BY_ITSELF.min(grace / 2)
        };
        Self {
            term_at: Some(now + by_itself),
            kill_at: now + grace,
        }
    }

    /// Another request to end: of each signal the earlier time holds, so that nobody can prolong an end.
    pub(crate) fn sooner(&mut self, other: &Self) {
        self.term_at = self.term_at.and_then(|at| Some(at.min(other.term_at?)));
        self.kill_at = self.kill_at.min(other.kill_at);
    }

    /// What is due at `now`; SIGTERM is due once.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now >= self.kill_at {
            Due::Kill
        } else if self.term_at.is_some_and(|at| now >= at) {
            self.term_at = None;
            Due::Term
        } else {
            Due::Nothing
        }
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Instant {
        self.term_at.unwrap_or(self.kill_at).min(self.kill_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_short_grace_is_halved_and_a_long_one_leaves_two_seconds() {
        let start = Instant::now();
        assert_eq!(
            Ending::new(start, 300 * MS, false).deadline(),
            start + 150 * MS
        );
        assert_eq!(
            Ending::new(start, 10_000 * MS, false).deadline(),
            start + 2_000 * MS
        );
        assert_eq!(Ending::new(start, 10_000 * MS, true).deadline(), start);
    }

    #[test]
    fn term_is_due_once_and_then_kill() {
        let start = Instant::now();
        let mut ending = Ending::new(start, 300 * MS, false);
        assert_eq!(ending.due(start + 149 * MS), Due::Nothing);
        assert_eq!(ending.due(start + 150 * MS), Due::Term);
        assert_eq!(ending.due(start + 299 * MS), Due::Nothing);
        assert_eq!(ending.deadline(), start + 300 * MS);
        assert_eq!(ending.due(start + 300 * MS), Due::Kill);
    }

    #[test]
    fn without_grace_kill_comes_first() {
        let start = Instant::now();
        assert_eq!(
            Ending::new(start, Duration::ZERO, false).due(start),
            Due::Kill
        );
    }

    #[test]
    fn a_second_end_only_makes_it_sooner() {
        let start = Instant::now();
        let mut ending = Ending::new(start, 1_000 * MS, false);
        ending.sooner(&Ending::new(start + 100 * MS, 60_000 * MS, false));
        assert_eq!(ending.deadline(), start + 500 * MS);
        ending.sooner(&Ending::new(start + 100 * MS, 60_000 * MS, true));
        assert_eq!(ending.deadline(), start + 100 * MS);
        assert_eq!(ending.due(start + 100 * MS), Due::Term);
        ending.sooner(&Ending::new(start + 200 * MS, 10_000 * MS, true));
        assert_eq!(
            ending.due(start + 300 * MS),
            Due::Nothing,
            "SIGTERM is not sent again"
        );
        assert_eq!(ending.deadline(), start + 1_000 * MS);
    }
}
