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
    /// Whether the agent reaches the API by its own name, as in the world, and not as a gateway.
    at_provider: bool,
    /// Whether it is so much like another that it is tried only where `CLSESS_EVERYWHERE` is set: the four
    /// with taps would take CI twice its time, and tests/tap has what is theirs alone.
    rare: bool,
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
    /// What a turn took and what the model said about its end is told: tokens and model.
    TellsResults,
    /// What a turn cost is told.
    TellsCosts,
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
            at_provider: false,
            rare: false,
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
            at_provider: false,
            rare: false,
            lacks: &[
                A::TellsPieces,
                A::TellsThoughts,
                A::TellsRetries,
                A::TellsResults,
                A::TellsCosts,
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

    /// The interface with its traffic read by a proxy, at the provider itself: the words come from
    /// the wire.
    pub const fn tui_proxy() -> Self {
        use Ability as A;
        Self {
            new: &["--driver", "tui", "--tap", "proxy"],
            at_provider: true,
            rare: true,
            lacks: &[A::TellsCosts, A::TellsPlans, A::Steers],
            ..Self::tui()
        }
    }

    /// The same with a base URL.
    pub const fn tui_base_url() -> Self {
        Self {
            new: &["--driver", "tui", "--tap", "base-url"],
            at_provider: false,
            ..Self::tui_proxy()
        }
    }

    /// The stream with its traffic read by a proxy, at the provider itself.
    pub const fn stream_proxy() -> Self {
        Self {
            new: &["--tap", "proxy"],
            at_provider: true,
            rare: true,
            ..Self::stream()
        }
    }

    /// The same with a base URL.
    pub const fn stream_base_url() -> Self {
        Self {
            new: &["--tap", "base-url"],
            rare: true,
            ..Self::stream()
        }
    }

    /// Whether it is tried; says so where it is not.
    pub fn is_tried(&self) -> bool {
        let tried = !self.rare || std::env::var_os("CLSESS_EVERYWHERE").is_some();
        if !tried {
            println!("only with CLSESS_EVERYWHERE");
        }
        tried
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
        let new = world.clsess(&args);
        let new = match self.at_provider {
            true => world.at_provider(new),
            false => new,
        };
        let done = new.run().ok();
        assert_eq!(done.text(), format!("{name}\n"));
        let shown = world.show(name);
        assert_eq!(shown["driver"], self.name);
        let tap = self.new.iter().skip_while(|word| **word != "--tap").nth(1);
        assert_eq!(shown["tap"]["way"].as_str(), tap.copied());
    }

    /// Where the client says to look when the provider is down, by the time that an agent runs.
    pub fn gateway(&self, world: &World) -> String {
        if self.at_provider {
            return "https://status.claude.com".to_owned();
        }
        let tap = world.seen(world.state()).join("default/taps/port");
        let port = match std::fs::read_to_string(tap) {
            Ok(port) => port.trim().to_owned(),
            Err(_) => world.api.port.to_string(),
        };
        format!("your inference gateway (127.0.0.1:{port})")
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
