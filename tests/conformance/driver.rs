//! The drivers, and what each of them can carry.

use clsess_claude::tui::prompt::representable;

use crate::harness::World;

/// A body of a session, as the suite knows it.
#[derive(Debug)]
pub struct Driver {
    /// As `ls` names it.
    name: &'static str,
    /// The words after `clsess new NAME` that make a session of it.
    new: &'static [&'static str],
    /// What it cannot do.
    lacks: &'static [Ability],
    /// What the client says there of a key that is refused.
    pub says_of_401: &'static str,
    /// What of this prompt arrives: all of it, or all but the newlines at its end. Where it is
    /// nothing, `send` must refuse.
    pub carries: fn(&str) -> Option<&str>,
}

/// What a body may be unable to do; the contract does not ask it of every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// A text is told while it is being said, not only line by line or whole.
    TellsPieces,
    /// Thoughts are told.
    TellsThoughts,
    /// A request that the agent makes again is told.
    TellsRetries,
    /// What a turn took and what the model said about its end is told: tokens, cost, model.
    TellsResults,
    /// The question about a plan tells the plan; elsewhere it is on the screen.
    TellsPlans,
    /// A text is told before the tool call that came after it.
    TellsInOrder,
    /// A prompt can be put into the turn that runs.
    Steers,
    /// The agent lives on between turns, so it can work and report unasked.
    StaysBetweenTurns,
}

impl Driver {
    /// A warm `claude -p` that speaks stream-json.
    pub const fn stream() -> Self {
        Self {
            name: "stream",
            new: &[],
            lacks: &[],
            says_of_401: "Failed to authenticate. API Error: 401 told 401",
            carries: |prompt| Some(prompt),
        }
    }

    /// The agent's own interface, driven by keys and heard by its hooks.
    pub const fn tui() -> Self {
        use Ability as A;
        Self {
            name: "tui",
            new: &["--driver", "tui"],
            lacks: &[
                A::TellsPieces,
                A::TellsThoughts,
                A::TellsRetries,
                A::TellsResults,
                A::TellsPlans,
                A::TellsInOrder,
                A::Steers,
            ],
            says_of_401: "Please run /login · API Error: 401 told 401",
            carries: |prompt| representable(prompt).ok(),
        }
    }

    /// A child for each turn.
    pub const fn oneshot() -> Self {
        Self {
            name: "oneshot",
            new: &["--driver", "oneshot"],
            lacks: &[Ability::StaysBetweenTurns],
            ..Self::stream()
        }
    }

    /// Makes a session in the project directory.
    #[track_caller]
    pub fn session(&self, world: &World, name: &str) {
        self.session_with(world, name, &[]);
    }

    /// The same with further options of `clsess new`.
    #[track_caller]
    pub fn session_with(&self, world: &World, name: &str, options: &[&str]) {
        let args = [&["new", name], self.new, options].concat();
        let done = world.clsess(&args).run().ok();
        assert_eq!(done.text(), format!("{name}\n"));
        assert_eq!(world.show(name)["driver"], self.name);
    }

    /// Whether it can do this.
    pub fn has(&self, ability: Ability) -> bool {
        !self.lacks.contains(&ability)
    }

    /// Whether it can do this; says so where it cannot.
    pub fn can(&self, ability: Ability) -> bool {
        let can = self.has(ability);
        if !can {
            println!("skipped: {} cannot: {ability:?}", self.name);
        }
        can
    }
}
