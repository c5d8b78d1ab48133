//! What passes between an agent and its provider is read, in either way, with the real client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

mod doors;
mod faults;
mod same;
mod strangers;
mod telling;

use harness::{Cmd, World};

/// How the traffic is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// At the provider itself.
    Proxy,
    /// At a gateway.
    BaseUrl,
}

const BOTH: [By; 2] = [By::Proxy, By::BaseUrl];

/// The drivers whose agents live on.
const DRIVERS: [&str; 2] = ["stream", "tui"];

impl By {
    /// As `--tap` has it.
    fn way(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::BaseUrl => "base-url",
        }
    }

    /// The command, where its agent finds the API.
    fn found(self, world: &World, command: Cmd) -> Cmd {
        match self {
            Self::Proxy => world.at_provider(command),
            Self::BaseUrl => command,
        }
    }

    /// Makes the session `work`.
    fn session(self, world: &World, driver: &str, options: &[&str]) {
        self.new_session(world, driver, options).run().ok();
    }

    /// The command that makes it.
    fn new_session(self, world: &World, driver: &str, options: &[&str]) -> Cmd {
        let args = ["new", "--driver", driver, "--tap", self.way()];
        self.found(world, world.clsess(&[&args, options, &["work"]].concat()))
    }
}
