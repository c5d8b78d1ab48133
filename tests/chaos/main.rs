//! Many turns in several sessions at once, with faults at random moments: every turn ends in
//! exactly one way, which is what the provider saw; no answer is given to another prompt; and
//! afterwards there is as much of everything as before.
//!
//! Each worker has a session of its own and plays one scene after another in it ([`plan`]): one
//! to three prompts, each with a script for the provider, and up to two disturbances. What may
//! come of it follows from the plan ([`plan::Plan::codes`]), and [`account`] holds the command,
//! the history, the events and the provider to each other. Once in a while the broker is killed,
//! which all sessions meet.
//!
//! `CLSESS_CHAOS_TURNS` is the number of turns, `CLSESS_TEST_SEED` the seed, which is printed.
//! A seed gives the same scenes again, but not the same moments within the client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../conformance/driver.rs"]
#[allow(dead_code, reason = "what drivers cannot do is for the suite of send")]
mod driver;

mod account;
mod count;
mod plan;
mod run;
mod scene;
mod turn;

use std::thread;
use std::time::{Duration, Instant};

use account::Fate;
use driver::Driver;
use harness::random::Random;
use harness::{World, until};
use plan::{Disturbance, Plan};
use run::{Run, Seat, StopsAll};
use turn::{Script, Turn};

/// The variable that says how many turns are run.
const TURNS: &str = "CLSESS_CHAOS_TURNS";
/// So many when it says nothing.
const FEW: usize = 300;
/// Sessions, each with a worker.
const SESSIONS: usize = 6;
/// Brokers, each of which has as many turns as the others. All but the last one are killed.
const BROKERS: usize = 4;

/// What the sessions' bodies are, one after the other.
static DRIVERS: [Driver; 3] = [Driver::stream(), Driver::tui(), Driver::oneshot()];

/// What a worker has done.
struct Work {
    seat: Seat,
    fates: Vec<Fate>,
    /// The ids of all the sessions that it had.
    ids: Vec<String>,
}

#[test]
fn every_turn_ends_in_exactly_one_way_whatever_happens() {
    let Some(world) = World::real() else { return };
    let turns = std::env::var(TURNS).map_or(FEW, |turns| turns.parse().expect("a number"));
    let mut random = Random::from_environment();
    let run = Run::new(&world);
    let seats = seats(&run);
    let mut fates: Vec<Fate> = seats
        .iter()
        .map(|seat| warm(&run, seat, &mut random))
        .collect();
    let before = count::ours(&world);
    let (of_client, memory) = (count::of_client(&world), count::memory(&world));
    run.listen();

    let start = Instant::now();
    let works = work(&run, seats, turns.div_ceil(SESSIONS), &mut random);
    println!("{:.1} s for the turns", start.elapsed().as_secs_f64());

    let mut ids = Vec::new();
    for work in works {
        fates.push(warm(&run, &work.seat, &mut random));
        fates.extend(work.fates);
        ids.extend(work.ids);
    }
    assert!(fates.len() >= turns);
    at_rest(&run);
    account::histories(&run, &ids, &fates);
    let told = account::events(&run.told(), &fates);
    println!("the ends of {told} of {} turns were told", fates.len());
    // Not of those that a broker took along.
    assert!(told > fates.len() / 2);
    account::requests(&run.requests(), &fates);

    count::only_sessions_are_kept(&world, &ids, SESSIONS);
    let mut differs = Vec::new();
    until("there is as much as before", || {
        let now = count::difference(&before, &count::ours(&world));
        if now != differs {
            println!("another number than before: {now:#?}");
        }
        differs = now;
        differs.is_empty()
    });
    println!(
        "the broker's memory: {memory} KiB, then {} KiB",
        count::memory(&world)
    );
    let of_client = count::difference(&of_client, &count::of_client(&world));
    println!("the client's own files: {of_client:#?}");
}

/// The sessions, made side by side.
fn seats(run: &Run<'_>) -> Vec<Seat> {
    thread::scope(|scope| {
        let make = |number| {
            let driver = &DRIVERS[number % DRIVERS.len()];
            scope.spawn(move || run.seat(&format!("s{number}"), driver))
        };
        let seats: Vec<_> = (0..SESSIONS).map(make).collect();
        let seats = seats.into_iter();
        seats.map(|seat| seat.join().unwrap()).collect()
    })
}

/// A turn without faults, after which all of a session is there.
fn warm(run: &Run<'_>, seat: &Seat, random: &mut Random) -> Fate {
    let turn = Turn::new(run.world, random, Script::Answers, seat.driver);
    let answer = run.world.send(&seat.name, &turn.prompt);
    assert_eq!(answer, turn.texts());
    // One that has its child for the next turn says nothing more.
    until("it is at rest", || {
        let shown = run.world.show(&seat.name);
        shown["state"] == "idle" && shown["detail"].is_null()
    });
    let entry = account::history(run, &seat.id, Some(1)).pop();
    Fate {
        turn,
        again: false,
        rerun: false,
        entry: entry.map(|entry| (seat.id.clone(), entry)),
    }
}

/// Nothing waits, nothing runs, nothing is asked.
fn at_rest(run: &Run<'_>) {
    let ls = run.world.clsess(&["ls", "--json"]).run().ok().json();
    let sessions = ls["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), SESSIONS);
    for session in sessions {
        assert_eq!(session["state"], "idle", "{session}");
        assert_eq!(session["queue"], 0, "{session}");
    }
    let questions = run.world.clsess(&["questions", "--json"]).run().ok();
    assert_eq!(questions.json()["questions"].as_array().unwrap().len(), 0);
}

fn work(run: &Run<'_>, seats: Vec<Seat>, turns: usize, random: &mut Random) -> Vec<Work> {
    thread::scope(|scope| {
        let workers: Vec<_> = seats
            .into_iter()
            .enumerate()
            .map(|(number, seat)| {
                let random = random.branch();
                let named = thread::Builder::new().name(seat.name.clone());
                let work = move || worker(run, number, seat, turns, random);
                named.spawn_scoped(scope, work).unwrap()
            })
            .collect();
        let works: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        let works = works.into_iter();
        works
            .map(|work| work.expect("no worker has failed"))
            .collect()
    })
}

fn worker(run: &Run<'_>, number: usize, seat: Seat, turns: usize, mut random: Random) -> Work {
    let _stops = StopsAll(&run.stop);
    let ids = vec![seat.id.clone()];
    let mut work = Work {
        seat,
        fates: Vec::new(),
        ids,
    };
    let mut deaths = (1..BROKERS).map(|death| turns * death / BROKERS);
    let mut death = deaths.next().filter(|_| number == 0);
    while run.goes_on() && work.fates.len() < turns {
        let mut plan = Plan::new(run.world, &mut random, work.seat.driver);
        if death.is_some_and(|death| work.fates.len() >= death) {
            death = deaths.next();
            let at = random.moment(Duration::from_millis(250));
            plan.disturbances.push((at, Disturbance::KillBroker));
        }
        let name = &work.seat.name;
        println!("{name}: {}", Shown(&plan));
        let begun = Instant::now();
        let played = scene::play(run, &work.seat, &plan);
        let codes: Vec<i32> = played.ends.iter().map(|done| done.code).collect();
        println!("{name}: {codes:?} {:?}", begun.elapsed());
        let fates = account::scene(run, &work.seat, &plan, &played);
        work.fates.extend(fates);
        work.seat.lost_agent |= plan.kills_agent();
        run.look_at_requests();
        if plan.kills_session() {
            work.seat = run.seat(&work.seat.name, work.seat.driver);
            work.ids.push(work.seat.id.clone());
        }
    }
    work
}

/// A plan in a line.
struct Shown<'a>(&'a Plan);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for send in &self.0.sends {
            let (at, turn) = (send.at, &send.turn);
            write!(
                f,
                "{at:?} {} {:?} {:?}, ",
                turn.token, turn.script, send.options
            )?;
        }
        write!(f, "{:?} {:?}", self.0.disturbances, self.0.look)
    }
}
