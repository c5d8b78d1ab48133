//! Timers that the agent sets itself. They live in its process and end with it ("Session-only, dies
//! when Claude exits", says the tool), and the client does not count them among its background tasks.

use std::time::Duration;

use serde::Deserialize;

/// How long a job lives that nobody deletes: the tool's own rule.
pub const JOB_EXPIRES: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What a wake-up may come late, and what is taken for its delay when that cannot be read: the tool
/// takes an hour at most, and rounds to minutes.
const LATE: Duration = Duration::from_secs(2 * 60);
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// A call about a timer, which counts when it has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The agent wakes itself once; by this time it has.
    Wakeup(Duration),
    /// It has something to do at times, until that is deleted or expires.
    Job,
    /// One of those less.
    JobDeleted,
}

/// What a tool's call means for timers.
#[must_use]
pub fn call(tool: &str, input: &str) -> Option<Call> {
    match tool {
        "ScheduleWakeup" => Some(Call::Wakeup(delay(input) + LATE)),
        "CronCreate" => Some(Call::Job),
        "CronDelete" => Some(Call::JobDeleted),
        _ => None,
    }
}

fn delay(input: &str) -> Duration {
    #[derive(Deserialize)]
    struct Input {
        #[serde(rename = "delaySeconds")]
        seconds: f64,
    }
    let said = serde_json::from_str::<Input>(input).ok();
    let said = said.and_then(|input| Duration::try_from_secs_f64(input.seconds).ok());
    said.map_or(LONGEST_DELAY, |delay| delay.min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wakeup_is_over_soon_after_its_time() {
        let wakeup = |input| call("ScheduleWakeup", input);
        let after = |seconds| Some(Call::Wakeup(Duration::from_secs(seconds) + LATE));
        assert_eq!(wakeup(r#"{"delaySeconds":60,"prompt":"x"}"#), after(60));
        for odd in [
            r#"{"delaySeconds":1e300}"#,
            r#"{"delaySeconds":-1}"#,
            "{}",
            "x",
        ] {
            assert_eq!(wakeup(odd), after(3600), "{odd}");
        }
    }

    #[test]
    fn other_tools_set_no_timer() {
        assert_eq!(call("CronCreate", "{}"), Some(Call::Job));
        assert_eq!(call("CronDelete", "{}"), Some(Call::JobDeleted));
        assert_eq!(call("CronList", "{}"), None);
        assert_eq!(call("Bash", r#"{"delaySeconds":1}"#), None);
    }
}
