//! What all workers share, and the session that each of them has.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::driver::Driver;
use crate::harness::{Running, World, alive, send_signal, until};

/// What is given to each session's agent: it is not to wait for long before it asks the provider
/// again.
const AGENT: [&str; 4] = [
    "-e",
    "CLAUDE_CODE_MAX_RETRIES=2",
    "-e",
    "CLAUDE_CODE_OVERLOADED_RETRY_BASE_DELAY_MS=100",
];

/// Shared by all.
pub struct Run<'a> {
    /// See the name.
    pub world: &'a World,
    /// Somebody has found something: all stop.
    pub stop: AtomicBool,
    /// Odd while a broker is being killed.
    deaths: AtomicU64,
    /// `clsess events`, which finds each broker by itself.
    events: Mutex<Option<Running>>,
    /// What the fake API saw, by the number of the request.
    seen: Mutex<Vec<Value>>,
}

/// A worker's session.
#[derive(Debug)]
pub struct Seat {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What its body is.
    pub driver: &'static Driver,
    /// An agent of it was killed.
    pub lost_agent: bool,
}

impl<'a> Run<'a> {
    /// Before anything has happened.
    pub fn new(world: &'a World) -> Self {
        Self {
            world,
            stop: AtomicBool::new(false),
            deaths: AtomicU64::new(0),
            events: Mutex::new(None),
            seen: Mutex::new(Vec::new()),
        }
    }

    /// Makes a session of this name.
    pub fn seat(&self, name: &str, driver: &'static Driver) -> Seat {
        driver.session_with(self.world, name, &AGENT);
        let id = self.world.show(name)["id"].as_str().unwrap().to_owned();
        let name = name.to_owned();
        Seat {
            name,
            id,
            driver,
            lost_agent: false,
        }
    }

    /// How often the broker was killed, twice; odd while it is being killed.
    pub fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::SeqCst)
    }

    /// Kills the broker. The next command starts another one.
    pub fn kill_broker(&self) {
        let broker = self.world.broker();
        self.deaths.fetch_add(1, Ordering::SeqCst);
        send_signal(broker, Signal::SIGKILL);
        until("the broker is gone", || !alive(broker));
        self.deaths.fetch_add(1, Ordering::SeqCst);
    }

    /// Hears of everything from now on.
    pub fn listen(&self) {
        let events = self.world.clsess(&["events"]).spawn();
        *self.events.lock().unwrap() = Some(events);
    }

    /// All that was told of the ends of turns, and what was missed. Nothing is heard any more.
    pub fn told(&self) -> Vec<Value> {
        let events = self.events.lock().unwrap().take().expect("it listens");
        events.signal(Signal::SIGTERM);
        let mut told = events.wait().json_lines();
        told.retain(|line| line["event"] == "result" || line["event"] == "gap");
        told
    }

    /// Fetches what the fake API has seen since the last time. It forgets what it heard after 500
    /// requests.
    pub fn look_at_requests(&self) {
        let mut seen = self.seen.lock().unwrap();
        let open = seen.iter().position(|request| request["outcome"] == "open");
        let since = open.unwrap_or(seen.len());
        let reply = self
            .world
            .api
            .ask(serde_json::json!({"cmd": "requests", "since": since}));
        for request in reply["requests"].as_array().unwrap() {
            let index = usize::try_from(request["index"].as_u64().unwrap()).unwrap();
            if index < seen.len() {
                seen[index]["outcome"] = request["outcome"].clone();
            } else {
                assert_eq!(request["body_dropped"], false, "it was not asked in time");
                seen.push(request.clone());
            }
        }
    }

    /// All requests, when none is under way.
    pub fn requests(&self) -> Vec<Value> {
        until("no request is under way", || {
            self.look_at_requests();
            let seen = self.seen.lock().unwrap();
            seen.iter().all(|request| request["outcome"] != "open")
        });
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Whether a worker is to go on.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }
}

/// Stops all workers when one of them fails.
pub struct StopsAll<'a>(pub &'a AtomicBool);

impl Drop for StopsAll<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
