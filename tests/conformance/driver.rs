//! The drivers, and what each of them can carry.

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
    /// Whether it can carry this prompt unchanged. Where it cannot, `send` must refuse.
    pub carries: fn(&str) -> bool,
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
            carries: |_| true,
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

    /// Whether it can do this; says so where it cannot.
    pub fn can(&self, ability: Ability) -> bool {
        let can = !self.lacks.contains(&ability);
        if !can {
            println!("skipped: {} cannot: {ability:?}", self.name);
        }
        can
    }
}
