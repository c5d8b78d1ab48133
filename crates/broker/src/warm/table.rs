//! The seats as a table: who has one, who waits for one, who is asked to leave.

use std::collections::HashMap;

use uuid::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashMap<Uuid, Place>,
    /// The latest use: all later ones have greater numbers.
    last: u64,
}

/// Where a session is that has a seat, or wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Warm {
        /// When it was used last.
        used: u64,
        /// Whether nobody would miss it.
        may_sleep: bool,
        /// Whether it is asked to leave.
        asked: bool,
    },
    Waiting {
        since: u64,
        /// How many may be warm when it is one of them.
        bound: usize,
    },
}

impl Table {
    /// A session wants a seat. One that has it keeps it, and one that waits keeps its place in the
    /// line.
    pub(super) fn want(&mut self, id: Uuid, bound: usize) {
        let now = self.now();
        let since = match self.places.get(&id) {
            Some(Place::Warm { .. }) => return,
            Some(Place::Waiting { since, .. }) => *since,
            None => now,
        };
        self.places.insert(id, Place::Waiting { since, bound });
    }

    /// A session has a seat already, however many there are.
    pub(super) fn found(&mut self, id: Uuid, used: u64, may_sleep: bool) {
        self.last = self.last.max(used);
        let asked = false;
        let place = Place::Warm {
            used,
            may_sleep,
            asked,
        };
        self.places.insert(id, place);
    }

    /// Whether a session with a seat may sleep; whether that is news.
    pub(super) fn rests(&mut self, id: Uuid, may: bool) -> bool {
        let now = self.now();
        match self.places.get_mut(&id) {
            Some(Place::Warm {
                used, may_sleep, ..
            }) if *may_sleep != may => {
                (*used, *may_sleep) = (now, may);
                true
            }
            _ => false,
        }
    }

    /// A session wants none any more; whether that is news.
    pub(super) fn leave(&mut self, id: Uuid) -> bool {
        self.places.remove(&id).is_some()
    }

    pub(super) fn is_warm(&self, id: Uuid) -> bool {
        matches!(self.places.get(&id), Some(Place::Warm { .. }))
    }

    pub(super) fn is_asked(&self, id: Uuid) -> bool {
        matches!(self.places.get(&id), Some(Place::Warm { asked: true, .. }))
    }

    fn now(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives seats to those that wait, the longest waiting first, and asks as many to leave as the
    /// others need, the least recently used first. Those for whom that is news.
    ///
    /// One that waits keeps nobody behind it waiting whose own bound leaves room. Nobody is asked
    /// in vain: where not enough may sleep for one that waits, none does for it.
    pub(super) fn settle(&mut self) -> Vec<Uuid> {
        let mut news = Vec::new();
        let mut resting = self.resting().into_iter();
        let mut asked: Vec<Uuid> = Vec::new();
        let mut warm = self.warm();
        // How many there will be when those that are asked have left for those that wait.
        let mut then = warm;
        for (id, bound) in self.line() {
            if warm < bound {
                let used = self.now();
                self.found(id, used, false);
                (warm, then) = (warm + 1, then + 1);
                news.push(id);
                continue;
            }
            let excess = (then + 1).saturating_sub(bound);
            if excess > resting.len() {
                continue;
            }
            asked.extend(resting.by_ref().take(excess));
            then = then + 1 - excess;
        }
        news.extend(self.ask(&asked));
        news
    }

    /// Asks these to leave, and nobody else; those that were not asked before.
    fn ask(&mut self, these: &[Uuid]) -> Vec<Uuid> {
        let mut news = Vec::new();
        for (id, place) in &mut self.places {
            if let Place::Warm { asked, .. } = place {
                let before = std::mem::replace(asked, these.contains(id));
                if *asked && !before {
                    news.push(*id);
                }
            }
        }
        news
    }

    fn warm(&self) -> usize {
        let warm = |place: &&Place| matches!(place, Place::Warm { .. });
        self.places.values().filter(warm).count()
    }

    /// Those that may sleep, the least recently used first.
    fn resting(&self) -> Vec<Uuid> {
        let mut resting: Vec<(u64, Uuid)> = self
            .places
            .iter()
            .filter_map(|(id, place)| match place {
                Place::Warm {
                    used,
                    may_sleep: true,
                    ..
                } => Some((*used, *id)),
                _ => None,
            })
            .collect();
        resting.sort_unstable();
        resting.into_iter().map(|(_, id)| id).collect()
    }

    /// Those that wait with their bounds, the longest waiting first.
    fn line(&self) -> Vec<(Uuid, usize)> {
        let mut line: Vec<(u64, Uuid, usize)> = self
            .places
            .iter()
            .filter_map(|(id, place)| match place {
                Place::Waiting { since, bound } => Some((*since, *id, *bound)),
                Place::Warm { .. } => None,
            })
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, id, bound)| (id, bound)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// A table in which these have taken their seats in this order, and may sleep.
    fn resting(ids: &[u128]) -> Table {
        let mut table = Table::default();
        for number in ids {
            table.want(id(*number), usize::MAX);
            assert_eq!(table.settle(), [id(*number)]);
        }
        for number in ids {
            assert!(table.rests(id(*number), true));
            assert!(table.settle().is_empty());
        }
        table
    }

    fn asked(table: &Table) -> Vec<u128> {
        let mut asked: Vec<u128> = table.places.keys().map(Uuid::as_u128).collect();
        asked.retain(|number| table.is_asked(id(*number)));
        asked.sort_unstable();
        asked
    }

    #[test]
    fn whoever_finds_room_has_a_seat_at_once() {
        let mut table = resting(&[1]);
        table.want(id(2), 2);
        assert_eq!(table.settle(), [id(2)]);
        assert!(table.is_warm(id(2)));
        assert!(asked(&table).is_empty());
    }

    #[test]
    fn the_least_recently_used_one_is_asked_and_the_other_has_its_seat() {
        let mut table = resting(&[1, 2, 3]);
        // 1 is used once more.
        assert!(table.rests(id(1), false));
        assert!(table.rests(id(1), true));
        table.want(id(4), 3);
        assert_eq!(table.settle(), [id(2)]);
        assert!(!table.is_warm(id(4)));
        assert!(table.leave(id(2)));
        assert_eq!(table.settle(), [id(4)]);
        assert_eq!(table.warm(), 3);
    }

    #[test]
    fn one_that_got_something_to_do_stays_and_the_next_one_is_asked() {
        let mut table = resting(&[1, 2]);
        table.want(id(3), 2);
        assert_eq!(table.settle(), [id(1)]);
        assert!(table.rests(id(1), false));
        assert_eq!(table.settle(), [id(2)]);
        assert_eq!(asked(&table), [2]);
        // And when none may sleep, the first that may again.
        assert!(table.rests(id(2), false));
        assert!(table.settle().is_empty());
        assert!(table.rests(id(1), true));
        assert_eq!(table.settle(), [id(1)]);
    }

    #[test]
    fn the_longest_waiting_is_the_first() {
        let mut table = resting(&[1]);
        assert!(table.rests(id(1), false));
        for number in [7, 5, 6] {
            table.want(id(number), 1);
            assert!(table.settle().is_empty());
        }
        // Asking again does not lose the place, nor gain one.
        table.want(id(7), 1);
        for next in [7, 5, 6] {
            let warm = [1, 5, 6, 7].into_iter().find(|n| table.is_warm(id(*n)));
            assert!(table.leave(id(warm.unwrap())));
            assert_eq!(table.settle(), [id(next)]);
        }
    }

    #[test]
    fn who_waits_no_longer_makes_nobody_leave() {
        let mut table = resting(&[1, 2]);
        table.want(id(3), 2);
        table.want(id(4), 2);
        table.settle();
        assert_eq!(asked(&table), [1, 2]);
        assert!(table.leave(id(3)));
        assert!(table.settle().is_empty());
        assert_eq!(asked(&table), [1]);
        assert!(!table.leave(id(3)));
    }

    #[test]
    fn each_brings_its_own_bound() {
        let mut table = resting(&[1, 2, 3]);
        assert!(table.rests(id(1), false));
        // For a bound of one all three would have to leave, and one cannot: so none does.
        table.want(id(4), 1);
        assert!(table.settle().is_empty());
        // It keeps nobody waiting whose own bound leaves room.
        table.want(id(5), usize::MAX);
        assert_eq!(table.settle(), [id(5)]);
        assert!(table.rests(id(1), true) && table.rests(id(5), true));
        table.settle();
        assert_eq!(asked(&table), [1, 2, 3, 5]);
    }

    #[test]
    fn too_many_that_were_found_stay_until_somebody_needs_the_room() {
        let mut table = Table::default();
        for (number, used) in [(1, 30), (2, 10), (3, 20)] {
            table.found(id(number), used, true);
            assert!(table.settle().is_empty());
        }
        table.want(id(4), 2);
        table.settle();
        assert_eq!(asked(&table), [2, 3]);
        assert!(table.leave(id(2)));
        assert!(table.settle().is_empty());
        assert!(table.leave(id(3)));
        assert_eq!(table.settle(), [id(4)]);
    }

    /// Whatever happens in whatever order: the bound holds, and nobody waits who need not.
    #[test]
    fn the_bound_holds_and_nobody_is_forgotten() {
        const BOUND: usize = 3;
        let mut table = Table::default();
        let mut random: u64 = 1;
        for step in 0..20_000 {
            // Knuth's MMIX.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let session = id(u128::from(random >> 33) % 8);
            match (random >> 60) % 5 {
                0 | 1 => table.want(session, BOUND),
                2 => drop(table.leave(session)),
                more => drop(table.rests(session, more == 3)),
            }
            table.settle();
            let (warm, line) = (table.warm(), table.line().len());
            let (resting, asked) = (table.resting().len(), asked(&table).len());
            assert!(warm <= BOUND, "step {step}");
            assert!(
                line == 0 || warm == BOUND,
                "step {step}: room, and somebody waits"
            );
            assert_eq!(asked, resting.min(line), "step {step}");
        }
    }
}
