//! Many clients at once, each as people and terminals are: slow, stopped, resized, killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::drawing::Drawing;
use crate::harness::World;
use crate::harness::random::Random;
use crate::terminal::{DIRT, Size, Terminal};
use crate::{USUAL, attach, wait_attached};

/// How many there are.
const CLIENTS: usize = 16;
/// How long when nothing else is said.
const SHORT: u64 = 5;
/// The longest that something stays as it is.
const MOMENT: Duration = Duration::from_millis(40);

fn duration() -> Duration {
    let seconds = std::env::var("CLSESS_ATTACH_SECONDS");
    Duration::from_secs(seconds.map_or(SHORT, |it| it.parse().unwrap()))
}

/// One of them; they come and go.
struct Client {
    terminal: Terminal,
    reads: bool,
    stopped: bool,
}

impl Client {
    fn new(world: &World, random: &mut Random) -> Self {
        let sizes = [
            USUAL,
            USUAL,
            USUAL,
            Size(30, 100),
            Size(10, 40),
            Size(24, 20),
        ];
        let size = random.one_of(&sizes);
        let read_only = ["attach", "-r", "work"];
        let writes = ["attach", "work"];
        let args: &[&str] = match random.percent(50) {
            true => &read_only,
            false => &writes,
        };
        let before = random.one_of(&[b"".as_slice(), DIRT]);
        let terminal = Terminal::start_dirty(&world.clsess(args), size, before);
        Self {
            terminal,
            reads: true,
            stopped: false,
        }
    }

    fn something(&mut self, world: &World, random: &mut Random) {
        match random.below(10) {
            0..=2 if self.reads => {
                self.terminal.stop_reading();
                self.reads = false;
            }
            0..=4 => self.reads(),
            5 if self.stopped => self.goes_on(),
            5 => {
                self.terminal.signal(Signal::SIGSTOP);
                self.stopped = true;
            }
            6 | 7 if !self.stopped => {
                let sizes = [USUAL, Size(24, 81), Size(5, 80), Size(40, 120)];
                self.terminal.resize(random.one_of(&sizes));
            }
            8 if !self.stopped => self.terminal.type_in("k"),
            9 => {
                let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP];
                self.terminal.signal(random.one_of(&signals));
                *self = Self::new(world, random);
            }
            _ => {}
        }
    }

    fn reads(&mut self) {
        self.terminal.go_on_reading();
        self.reads = true;
    }

    fn goes_on(&mut self) {
        self.terminal.signal(Signal::SIGCONT);
        self.stopped = false;
    }
}

#[test]
fn everybody_sees_what_the_program_has_drawn() {
    let Some(world) = World::bare() else { return };
    let mut random = Random::from_environment();
    let drawing = Drawing::session(&world, "work", USUAL);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::new(&world, &mut random))
        .collect();
    let end = Instant::now() + duration();
    let mut did = 0;
    while Instant::now() < end {
        let which = random.below(CLIENTS as u64);
        clients[usize::try_from(which).unwrap()].something(&world, &mut random);
        did += 1;
        std::thread::sleep(random.moment(MOMENT));
    }
    // One that has the size for certain: from here on the program is followed from the beginning,
    // while the others are as they are.
    let direct = attach(&world, "work", USUAL);
    direct.until_seen("it is attached", |seen| seen.text().contains("frame"));
    crate::harness::until("it has the usual size", || {
        world.show("work")["size"] == serde_json::json!([USUAL.0, USUAL.1])
    });
    drawing.begin_anew();
    let begun = drawing.drawn();
    crate::harness::until("it has drawn a lot", || drawing.drawn() > begun + 20_000);
    // Some of them miss a part of it.
    for client in clients.iter_mut().step_by(3) {
        client.terminal.stop_reading();
    }
    drawing.burst();
    drawing.stop();
    for client in &mut clients {
        client.reads();
        if client.stopped {
            client.goes_on();
        }
    }
    wait_attached(&world, "work", CLIENTS as u64 + 1);
    let wanted = drawing.seen_directly(USUAL);
    direct.until_shows("one that has seen all of it", &wanted);
    attach(&world, "work", USUAL).until_shows("one that comes after it", &wanted);
    for (number, client) in clients.iter().enumerate() {
        assert!(client.terminal.runs(), "client {number} has ended");
        // Who has another size sees what anybody of that size sees.
        let size = client.terminal.size();
        let what = format!("client {number} of {size:?} after {did} things");
        if size == USUAL {
            client.terminal.until_shows(&what, &wanted);
            continue;
        }
        let read_only = world.clsess(&["attach", "-r", "work"]);
        let fresh = Terminal::start(&read_only, size);
        fresh.until_seen("it is there", |seen| {
            seen.text().contains("THE END") && seen.modes == client.terminal.seen().modes
        });
        fresh.until_shows(&what, &client.terminal.seen());
    }
}

/// Who looks at nothing that happens costs nothing.
#[test]
fn an_idle_session_wakes_nobody_up() {
    let Some(world) = World::bare() else { return };
    let speaker = crate::Speaker::session(&world, "work", USUAL);
    let terminal = attach(&world, "work", USUAL);
    speaker.say("here\x1b[>1u");
    terminal.until_screen(|text| text.contains("here"));
    let holder = crate::harness::pid_of(&world.show("work")["holder_pid"]);
    let all = [world.broker(), holder, terminal.pid];
    let switches = || all.map(switches);
    // What has happened just now is over.
    crate::harness::until("all is quiet", || {
        let before = switches();
        std::thread::sleep(Duration::from_millis(300));
        switches() == before
    });
    let before = switches();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(switches(), before, "broker, holder, client");
}

/// How often the threads of a process were given the processor.
fn switches(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |status: String| {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = lines.map(|line| line.split_whitespace().last().unwrap().parse::<u64>());
        counts.map(Result::unwrap).sum::<u64>()
    };
    let status =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")));
    status.map(|status| of_thread(status.unwrap())).sum()
}
