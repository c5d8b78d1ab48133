//! A way to the broker on which a test sees what is asked, and which it can cut.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use clsess_proto::{Request, ToBroker, frame};

use super::{Cmd, PATIENCE, World};

/// A socket behind which the broker is, whichever that is when somebody connects. A broker's end is
/// not seen through it before [`Relay::cut`].
pub struct Relay {
    socket: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// The requests by name, in the order in which they were asked.
    asked: Vec<String>,
    /// What is lost, if it is so named.
    lost: Option<(&'static str, Lost)>,
    clients: Vec<UnixStream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Request,
    Answer,
}

impl World {
    /// See [`Relay`].
    pub fn relay(&self) -> Relay {
        let socket = self.root().join("relay.sock");
        // Another one before it may have left it.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(State::default());
        let (shared, broker) = (Arc::clone(&state), self.socket());
        thread::spawn(move || {
            for client in listener.incoming() {
                shared.serve(&client.unwrap(), &broker);
            }
        });
        Relay { socket, state }
    }
}

impl Relay {
    /// `clsess ARG...` that asks on this way.
    pub fn clsess(&self, world: &World, args: &[&str]) -> Cmd {
        self.on_this_way(world.clsess(args))
    }

    /// Any command that asks on this way.
    pub fn on_this_way(&self, command: Cmd) -> Cmd {
        command.env("CLSESS_SOCKET", &self.socket)
    }

    /// From the next request of this name on nothing of what the broker says arrives, until the
    /// connection is cut.
    pub fn swallows(&self, op: &'static str) {
        self.state.seen.lock().unwrap().lost = Some((op, Lost::Answer));
    }

    /// Requests of this name do not reach the broker, until the connection is cut.
    pub fn drops(&self, op: &'static str) {
        self.state.seen.lock().unwrap().lost = Some((op, Lost::Request));
    }

    /// Waits until this has been asked so often.
    pub fn wait_asked(&self, op: &str, count: usize) {
        let asked = |seen: &Seen| seen.asked.iter().filter(|it| *it == op).count();
        let seen = self.state.seen.lock().unwrap();
        let waiting = |seen: &mut Seen| asked(seen) < count;
        let (seen, _) = self
            .state
            .changed
            .wait_timeout_while(seen, PATIENCE, waiting)
            .unwrap();
        assert_eq!(asked(&seen), count, "{op}: {:?}", seen.asked);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        let mut seen = self.state.seen.lock().unwrap();
        seen.lost = None;
        for client in seen.clients.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

/// What names it on the wire.
fn op_of(request: &Request) -> Option<String> {
    let op = serde_json::to_value(request).unwrap()["op"].take();
    op.as_str().map(str::to_owned)
}

impl State {
    fn serve(self: &Arc<Self>, client: &UnixStream, broker: &Path) {
        let copy = |stream: &UnixStream| stream.try_clone().unwrap();
        // Without one the client is turned away, as without a relay.
        let Ok(broker) = UnixStream::connect(broker) else {
            return;
        };
        self.seen.lock().unwrap().clients.push(copy(client));
        let swallowed = Arc::new(Mutex::new(false));
        let (shared, swallows) = (Arc::clone(self), Arc::clone(&swallowed));
        let (from, mut to) = (copy(client), copy(&broker));
        thread::spawn(move || {
            shared.forward(from, &mut to, &swallows);
            let _ = to.shutdown(Shutdown::Both);
        });
        let (mut from, mut to) = (broker, copy(client));
        thread::spawn(move || {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                if !*swallowed.lock().unwrap() && to.write_all(&bytes[..length]).is_err() {
                    return;
                }
            }
        });
    }

    /// What a client asks.
    fn forward(&self, mut from: UnixStream, to: &mut UnixStream, swallows: &Mutex<bool>) {
        while let Ok(Some(body)) = frame::read(&mut from) {
            let op = match frame::decode(&body).unwrap() {
                ToBroker::Request { request, .. } => op_of(&request),
                _ => None,
            };
            let mut seen = self.seen.lock().unwrap();
            let lost = seen.lost.filter(|(name, _)| op.as_deref() == Some(*name));
            let lost = lost.map(|(_, lost)| lost);
            if lost == Some(Lost::Answer) {
                *swallows.lock().unwrap() = true;
            }
            if lost != Some(Lost::Request) {
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                // That nobody is there any more is seen when the connection is cut.
                let _ = to.write_all(&[&length, &*body].concat());
            }
            seen.asked.extend(op);
            drop(seen);
            self.changed.notify_all();
        }
    }
}
