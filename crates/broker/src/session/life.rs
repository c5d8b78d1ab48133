//! The life of a session as a table: every state, every event, one answer.
//!
//! It says nothing of turns' contents; the session task does what the actions
//! say. An event that means nothing in a state changes nothing there, and that
//! too is written down, so that no pair is an accident.

/// Where a session's body is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// There is no body.
    Asleep,
    /// There is no body, and one is wanted: it waits for room.
    Waiting,
    /// A body is being started and is not ready.
    Starting,
    /// The body is ready and has nothing to do.
    Idle,
    /// A turn that somebody asked for is with the agent.
    Working,
    /// No asked turn runs, but the agent is not idle: it finishes one, or does
    /// something by itself.
    Settling,
    /// The body is being ended on purpose.
    Ending,
    /// The body could not be started.
    Failed,
    /// The session is forgotten; the task ends.
    Gone,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A turn waits, or somebody wants the agent to be ready.
    Wanted,
    /// There is room for a body.
    Room,
    /// Nobody wants one any more.
    Unwanted,
    /// The agent is ready for its first prompt.
    Ready,
    /// The agent could not be started, or died before it was ready.
    StartFailed,
    /// A prompt was given to the agent.
    TurnBegan,
    /// The asked turn has ended; the agent may not be idle yet.
    TurnEnded,
    /// The agent began something that nobody asked for.
    Busy,
    /// The agent says that it is idle.
    Idle,
    /// The agent has exited; what it leaves behind is still being ended.
    Leaving,
    /// The body is gone without having been told to.
    Died,
    /// They have died too often one after the other.
    GaveUp,
    /// The body is to be ended.
    End,
    /// The body that was to be ended is gone.
    Ended,
    /// The body that was to be ended is gone, and so is to be the session.
    Forgotten,
}

/// What the session task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See to it that there is room for a body.
    SeekRoom,
    /// Start a body.
    Launch,
    /// Tell those who wait for it that the agent is ready.
    TellReady,
    /// Tell those who wait, and the queued turns, that there is no agent.
    TellFailed,
    /// Give the agent the next prompt of the queue, if there is one.
    Next,
    /// The running turn's outcome is not known.
    LoseTurn,
    /// End the body.
    EndBody,
    /// Nothing is left of the body: do what it was ended for.
    AfterEnd,
    /// Start again if something waits.
    WakeIfWanted,
}

/// The table.
#[must_use]
pub fn on(life: Life, event: Event) -> (Life, &'static [Action]) {
    use Action as A;
    use Event as E;
    use Life as L;
    match (life, event) {
        (L::Gone, _) => (L::Gone, &[]),
        (_, E::Forgotten) => (L::Gone, &[]),

        (L::Asleep | L::Failed, E::Wanted) => (L::Waiting, &[A::SeekRoom]),
        // Ending nothing is done at once: one path for all who want it ended.
        (L::Asleep | L::Waiting | L::Failed, E::End) => (L::Asleep, &[A::AfterEnd]),
        (L::Asleep, E::GaveUp) => (L::Failed, &[A::TellFailed]),
        // What is left to be heard of a body that is gone.
        (L::Asleep | L::Failed, _) => (life, &[]),

        (L::Waiting, E::Room) => (L::Starting, &[A::Launch]),
        (L::Waiting, E::Unwanted) => (L::Asleep, &[]),
        (L::Waiting, _) => (L::Waiting, &[]),

        (L::Starting, E::Ready) => (L::Idle, &[A::TellReady, A::Next]),
        (L::Starting, E::StartFailed) => (L::Failed, &[A::TellFailed]),
        (L::Starting, E::Died) => (L::Asleep, &[A::WakeIfWanted]),
        (L::Starting, E::End) => (L::Ending, &[A::EndBody]),
        // The agent speaks of itself before it has said that it is ready.
        (L::Starting, _) => (L::Starting, &[]),

        (L::Idle, E::Wanted) => (L::Idle, &[A::TellReady, A::Next]),
        (L::Idle, E::TurnBegan) => (L::Working, &[]),
        // No prompt may be given to an agent that is leaving.
        (L::Idle, E::Busy | E::Leaving) => (L::Settling, &[]),

        (L::Working, E::TurnEnded) => (L::Settling, &[]),
        (L::Working, E::Died) => (L::Asleep, &[A::LoseTurn, A::WakeIfWanted]),
        // Idle before the turn's end is the end of the work before it; the state
        // lines of the agent are levels, not pairs.
        (L::Working, E::Idle | E::Busy) => (L::Working, &[]),

        (L::Settling, E::Idle) => (L::Idle, &[A::Next]),
        (L::Settling, E::Busy) => (L::Settling, &[]),

        (L::Working | L::Settling, E::Wanted) => (life, &[A::TellReady]),
        (L::Idle | L::Working | L::Settling, E::End) => (L::Ending, &[A::EndBody]),
        (L::Idle | L::Settling, E::Died) => (L::Asleep, &[A::WakeIfWanted]),
        (L::Idle | L::Working | L::Settling, _) => (life, &[]),

        (L::Ending, E::Ended | E::Died | E::StartFailed) => (L::Asleep, &[A::AfterEnd]),
        // What the agent still says is accounted for by the turn, not here.
        (L::Ending, _) => (L::Ending, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Action as A, Event as E, Life as L, on};

    const LIVES: [L; 9] = [
        L::Asleep,
        L::Waiting,
        L::Starting,
        L::Idle,
        L::Working,
        L::Settling,
        L::Ending,
        L::Failed,
        L::Gone,
    ];
    const EVENTS: [E; 15] = [
        E::Wanted,
        E::Room,
        E::Unwanted,
        E::Ready,
        E::StartFailed,
        E::TurnBegan,
        E::TurnEnded,
        E::Busy,
        E::Idle,
        E::Leaving,
        E::Died,
        E::GaveUp,
        E::End,
        E::Ended,
        E::Forgotten,
    ];

    /// The states that have a body.
    fn embodied(life: L) -> bool {
        matches!(
            life,
            L::Starting | L::Idle | L::Working | L::Settling | L::Ending
        )
    }

    #[test]
    fn a_body_is_launched_only_where_there_is_none() {
        for life in LIVES {
            for event in EVENTS {
                let (next, actions) = on(life, event);
                if actions.contains(&A::Launch) {
                    assert!(!embodied(life), "{life:?} {event:?}");
                    assert_eq!(next, L::Starting);
                }
            }
        }
    }

    #[test]
    fn a_body_is_launched_exactly_where_there_is_room() {
        for life in LIVES {
            for event in EVENTS {
                let (next, actions) = on(life, event);
                let launched = actions.contains(&A::Launch);
                assert_eq!(launched, life == L::Waiting && event == E::Room);
                assert_eq!(
                    actions.contains(&A::SeekRoom),
                    next == L::Waiting && life != L::Waiting,
                    "{life:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn a_body_is_lost_only_by_death_or_by_being_forgotten() {
        for life in LIVES.into_iter().filter(|l| embodied(*l)) {
            for event in EVENTS {
                let (next, _) = on(life, event);
                if !embodied(next) {
                    assert!(
                        matches!(event, E::Died | E::Ended | E::StartFailed | E::Forgotten),
                        "{life:?} {event:?} -> {next:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_prompt_is_given_only_to_an_idle_agent() {
        for life in LIVES {
            for event in EVENTS {
                let (next, actions) = on(life, event);
                if actions.contains(&A::Next) {
                    assert_eq!(next, L::Idle, "{life:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_turn_is_lost_exactly_when_a_working_agent_dies() {
        for life in LIVES {
            for event in EVENTS {
                let lost = on(life, event).1.contains(&A::LoseTurn);
                assert_eq!(lost, life == L::Working && event == E::Died);
            }
        }
    }

    #[test]
    fn whoever_wants_an_end_hears_of_it() {
        for life in LIVES.into_iter().filter(|l| *l != L::Gone) {
            let (next, actions) = on(life, E::End);
            assert!(
                actions.contains(&A::AfterEnd) || next == L::Ending,
                "{life:?}"
            );
        }
        assert_eq!(on(L::Ending, E::Ended).1, [A::AfterEnd]);
        assert_eq!(on(L::Ending, E::Died).1, [A::AfterEnd]);
    }

    #[test]
    fn the_ordinary_day() {
        let day = [
            (E::Wanted, L::Waiting),
            (E::Wanted, L::Waiting),
            (E::Room, L::Starting),
            (E::Busy, L::Starting),
            (E::Ready, L::Idle),
            (E::TurnBegan, L::Working),
            (E::Busy, L::Working),
            (E::TurnEnded, L::Settling),
            (E::Idle, L::Idle),
            (E::TurnBegan, L::Working),
            (E::TurnEnded, L::Settling),
            (E::Busy, L::Settling), // a background agent reports
            (E::Idle, L::Idle),
            (E::End, L::Ending),
            (E::Ended, L::Asleep),
            (E::Wanted, L::Waiting),
            (E::Unwanted, L::Asleep), // it was taken back
        ];
        let mut life = L::Asleep;
        for (event, expected) in day {
            life = on(life, event).0;
            assert_eq!(life, expected, "{event:?}");
        }
    }
}
