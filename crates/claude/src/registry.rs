//! The client's registry: one entry for each running client, and for each that was killed
//! (facts 3.3; fields measured, 2.1.328).

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::{Raw, count, object, text, uuid};

/// A client as its registry names it ([`crate::record::Home::registry_dir`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Its process.
    pub pid: u32,
    /// When that started, in clock ticks since boot; one without it cannot be told from a later
    /// process of the same number.
    pub start_time: Option<u64>,
    /// Where the number counts: `linux:MACHINE-ID:pid:[NAMESPACE]`.
    pub domain: Option<String>,
    /// The conversation that it has open. It follows `/clear`, and what is chosen from a list.
    pub conversation: Option<Uuid>,
    /// What it is.
    pub kind: Kind,
    /// `2.1.328`.
    pub version: Option<String>,
    /// What it does; rewritten within 20 ms of each change (facts 3.3).
    pub activity: Option<Activity>,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It waits for a prompt.
    Idle,
    /// A turn runs.
    Busy,
    /// It waits for somebody.
    Waiting,
}

/// What a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The full screen, on a terminal.
    Terminal,
    /// `claude -p`, or a program that drives one.
    Program,
    /// A background session of this short id: `claude stop ID`.
    Background(String),
    /// Something else.
    #[default]
    Other,
}

/// Reads an entry of the registry.
#[must_use]
pub fn registered(entry: &[u8]) -> Option<Registered> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        pid: Raw<'a>,
        #[serde(borrow, rename = "procStart")]
        start: Raw<'a>,
        #[serde(borrow, rename = "pidDomain")]
        domain: Raw<'a>,
        #[serde(borrow, rename = "sessionId")]
        conversation: Raw<'a>,
        #[serde(borrow)]
        kind: Raw<'a>,
        #[serde(borrow)]
        entrypoint: Raw<'a>,
        #[serde(borrow, rename = "jobId")]
        job: Raw<'a>,
        #[serde(borrow)]
        version: Raw<'a>,
        #[serde(borrow)]
        status: Raw<'a>,
    }
    let entry: Entry<'_> = object(serde_json::from_slice::<&RawValue>(entry).ok())?;
    let (kind, entrypoint) = (text(entry.kind), text(entry.entrypoint));
    let kind = match (kind.as_deref(), entrypoint.as_deref(), text(entry.job)) {
        (Some("bg"), _, Some(job)) => Kind::Background(job),
        (Some("interactive"), Some("cli"), _) => Kind::Terminal,
        (Some("interactive"), Some("sdk-cli"), _) => Kind::Program,
        _ => Kind::Other,
    };
    Some(Registered {
        pid: u32::try_from(count(entry.pid)?).ok()?,
        start_time: text(entry.start).and_then(|ticks| ticks.parse().ok()),
        domain: text(entry.domain),
        conversation: uuid(entry.conversation),
        kind,
        version: text(entry.version),
        activity: match text(entry.status).as_deref() {
            Some("idle") => Some(Activity::Idle),
            Some("busy") => Some(Activity::Busy),
            Some("waiting") => Some(Activity::Waiting),
            _ => None,
        },
    })
}

/// The domain of processes of this machine and namespace, `pid:[4026531836]`.
#[must_use]
pub fn domain(machine_id: &str, namespace: &str) -> String {
    format!("linux:{machine_id}:{namespace}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_registry() {
        // As the real client wrote it.
        let entry = br#"{"pid":9919,"sessionId":"36fd3f3c-07c8-4ca2-9d5c-2a2e9c5dd2c1","cwd":"/p",
            "procStart":"2455115","kind":"interactive","entrypoint":"sdk-cli",
            "pidDomain":"linux:3d12:pid:[4026531836]","asksForConvertedSkills":null,"status":"idle"}"#;
        let client = registered(entry).unwrap();
        assert_eq!((client.pid, client.start_time), (9919, Some(2_455_115)));
        assert_eq!(client.domain, Some(domain("3d12", "pid:[4026531836]")));
        let id = "36fd3f3c-07c8-4ca2-9d5c-2a2e9c5dd2c1".parse().ok();
        assert_eq!((client.conversation, client.kind), (id, Kind::Program));
        assert_eq!(
            (client.version, client.activity),
            (None, Some(Activity::Idle))
        );
        let old = registered(br#"{"pid":1}"#).unwrap();
        let expected = Registered {
            pid: 1,
            ..Registered::default()
        };
        assert_eq!(old, expected);
        for bad in ["", "[]", "{}", r#"{"pid":-1}"#, r#"{"pid":"1"}"#] {
            assert_eq!(registered(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_a_client_is() {
        let kind = |more: &str| {
            let entry = format!(r#"{{"pid":1,{more}}}"#);
            registered(entry.as_bytes()).unwrap().kind
        };
        let terminal = r#""kind":"interactive","entrypoint":"cli""#;
        assert_eq!(kind(terminal), Kind::Terminal);
        let background = r#""kind":"bg","entrypoint":"cli","jobId":"ea336b83""#;
        assert_eq!(kind(background), Kind::Background("ea336b83".into()));
        assert_eq!(kind(r#""kind":"daemon""#), Kind::Other);
    }
}
