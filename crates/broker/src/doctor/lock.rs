//! Whether the lock says who holds it.

use super::Check;
use crate::lock::{self, Record, boot_id};
use crate::place::Place;

/// The lock of the state directory.
#[must_use]
pub fn lock(place: &Place) -> Check {
    let path = place.lock();
    let record = lock::is_held(&path).then(|| lock::read(&path));
    judged(&path.display().to_string(), record, lives)
}

/// `record`: what is in the lock if somebody holds it.
fn judged(path: &str, record: Option<Option<Record>>, lives: impl Fn(&Record) -> bool) -> Check {
    const NAME: &str = "lock";
    let find = format!("find who it is: fuser -v {path}");
    match record {
        None => Check::ok(NAME, format!("nobody holds {path}")),
        Some(None) => {
            let message = format!("somebody holds {path} without saying who");
            Check::problem(NAME, message).hint(find)
        }
        Some(Some(record)) if lives(&record) => {
            Check::ok(NAME, format!("process {} holds {path}", record.pid))
        }
        Some(Some(record)) => {
            let (pid, host) = (record.pid, record.host);
            let message = format!(
                "somebody holds {path}, and process {pid} of {host}, which it names, is not here"
            );
            Check::problem(NAME, message).hint(find)
        }
    }
}

fn lives(record: &Record) -> bool {
    record.boot_id == boot_id() && lock::lives(record.pid, record.start_time)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_lock_that_is_held_says_by_whom() {
        let own = Record::of_this_process(Path::new("/s"));
        let status = |record| judged("/lock", record, lives).status;
        assert_eq!(status(None), Status::Ok);
        assert_eq!(status(Some(Some(own.clone()))), Status::Ok);
        assert_eq!(status(Some(None)), Status::Problem);
        for other in [
            Record {
                start_time: own.start_time + 1,
                ..own.clone()
            },
            Record {
                boot_id: "another".to_owned(),
                ..own
            },
        ] {
            assert_eq!(status(Some(Some(other))), Status::Problem);
        }
    }
}
