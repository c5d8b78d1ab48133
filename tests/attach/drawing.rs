//! A program that draws all the time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::harness::{World, until};
use crate::session;
use crate::terminal::{Judge, Seen, Size};

/// Each frame goes to the terminal and into a log, with a counter. `c` begins anew, and the log with
/// it; `b` is a lot at once; `q` is the end of drawing, of which the file `done` tells. The terminal is raw.
const SCRIPT: &str = r#"stty raw -echo; exec 9<>tell; n=0; : >log
say() { printf %s "$1"; printf %s "$1" >>log; }
while :; do
    n=$((n + 1))
    printf -v frame '\e[%d;%dH\e[3%d;4%dmframe %d \e[m\e[%d;1H\e[%dPx\e[%d;%dr\e[H\n\eM\e[r\e[3;5H%d 漢\e[%d;30H\e[1;9mover\e[K' \
        $((n * 7 % 24 + 1)) $((n * 13 % 70 + 1)) $((n % 8)) $((n / 8 % 8)) $n \
        $((n * 5 % 24 + 1)) $((n % 4 + 1)) $((n % 5 + 1)) $((n % 5 + 9)) $n $((n * 11 % 24 + 1))
    (( n % 40 == 0 )) && frame+=$'\e[?1049h\e[2J'
    (( n % 40 == 20 )) && frame+=$'\e[?1049l'
    (( n % 7 == 0 )) && frame+=$'\e[?25l\e[?2004h'
    (( n % 7 == 3 )) && frame+=$'\e[?25h\e[?2004l'
    say "$frame"
    key=; read -rsn 1 -t 0.004 -u 9 key
    case $key in
    c) : >log; say $'\ec' ; touch cleared;;
    b) for half in 1 2; do
           printf -v burst '\e[%d;1H%06d in a burst' $(for ((i = 0; i < 10000; i++)); do echo $((i % 24 + 1)) $i; done)
           say "$burst"$'\e[5;60Hlost?\e[15;60H'$half
       done; touch burst;;
    q) say $'\e[m\e[HTHE END'; touch done; exec sleep 1000000;;
    esac
done"#;

/// See the module.
pub struct Drawing {
    directory: PathBuf,
}

impl Drawing {
    /// A session in which it draws.
    pub fn session(world: &World, name: &str, size: Size) -> Self {
        let directory = world.project();
        nix::unistd::mkfifo(&directory.join("tell"), Mode::S_IRWXU).unwrap();
        std::fs::write(directory.join("draw.sh"), SCRIPT).unwrap();
        session(world, name, size, "exec bash draw.sh");
        until("it draws", || {
            std::fs::metadata(directory.join("log")).is_ok_and(|log| log.len() > 1000)
        });
        Self { directory }
    }

    fn tell(&self, key: &str, answer: &str) {
        let answer = self.directory.join(answer);
        let mut told = None::<Instant>;
        until("it does what it is told", || {
            // What bash reads just when its time is up is lost now and then.
            if told.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                std::fs::write(self.directory.join("tell"), key).unwrap();
                told = Some(Instant::now());
            }
            answer.exists()
        });
    }

    /// Resets the terminal and begins to draw anew.
    pub fn begin_anew(&self) {
        self.tell("c", "cleared");
    }

    /// Draws more at once than may wait for a terminal that does not read.
    pub fn burst(&self) {
        self.tell("b", "burst");
    }

    /// Draws nothing more.
    pub fn stop(&self) {
        self.tell("q", "done");
    }

    /// Bytes of what it has drawn since it began anew.
    pub fn drawn(&self) -> u64 {
        std::fs::metadata(self.directory.join("log")).unwrap().len()
    }

    /// What a terminal of this size shows that was there from the beginning.
    pub fn seen_directly(&self, size: Size) -> Seen {
        let mut judge = Judge::new(size);
        judge.feed(&std::fs::read(self.directory.join("log")).unwrap());
        judge.seen()
    }
}
