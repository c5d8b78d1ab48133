//! The broker's process, and its death.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use clsess_proto::{Hello, Request, ToBroker, frame};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{PATIENCE, World, pid_of, send_signal};

impl World {
    /// The broker's process.
    pub fn broker(&self) -> u32 {
        let status = self.clsess(&["broker", "status", "--json"]).run().ok();
        pid_of(&status.json()["pid"])
    }

    /// `kill -9` of the broker; how long until another one answers. Somebody has to be there who
    /// starts it: a client that waits, or a holder.
    pub fn kill_broker(&self) -> Duration {
        self.kill_this_broker(self.broker())
    }

    /// The same, of one whose process is known.
    pub fn kill_this_broker(&self, broker: u32) -> Duration {
        send_signal(broker, Signal::SIGKILL);
        let dead = Instant::now();
        while self.who_answers().is_none_or(|pid| pid == broker) {
            assert!(dead.elapsed() < PATIENCE, "no other broker answers");
            thread::sleep(Duration::from_millis(1));
        }
        dead.elapsed()
    }

    /// Has the lock's record say that the machine has been started again since.
    pub fn reboot(&self) {
        let lock = self.state().join("default/lock");
        let mut record: Value = serde_json::from_slice(&fs::read(&lock).unwrap()).unwrap();
        record["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        fs::write(&lock, record.to_string()).unwrap();
    }

    /// The process of the broker that answers on the socket.
    fn who_answers(&self) -> Option<u32> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let status = ToBroker::Request {
            id: 1,
            first_asked: None,
            request: Box::new(Request::Status {}),
        };
        for message in [ToBroker::Hello(Hello::client()), status] {
            stream.write_all(&frame::to_wire(&message).unwrap()).ok()?;
        }
        let mut heard = || frame::decode::<Value>(&frame::read(&mut stream).ok()??).ok();
        heard()?;
        Some(pid_of(&heard()?["reply"]["pid"]))
    }
}
