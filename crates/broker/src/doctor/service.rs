//! Whether systemd still starts the broker, where it was told to.

use std::time::Duration;

use tokio::process::Command;

use super::Check;

/// How long systemd may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Tells of units of this label that systemd has given up: the broker was started too often, or
/// cannot live. `None` where all is well, or there is no systemd.
pub async fn service(label: &str) -> Option<Check> {
    let units = ["service", "socket"].map(|kind| format!("clsess@{label}.{kind}"));
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--user", "is-failed"]).args(&units);
    systemctl.kill_on_drop(true);
    let said = tokio::time::timeout(ANSWER, systemctl.output()).await;
    let said = String::from_utf8(said.ok()?.ok()?.stdout).ok()?;
    judged(&units, &said)
}

/// `said`: a line for each unit.
fn judged(units: &[String; 2], said: &str) -> Option<Check> {
    let failed = units.iter().zip(said.lines());
    let failed: Vec<&str> = failed
        .filter(|(_, state)| *state == "failed")
        .map(|(unit, _)| unit.as_str())
        .collect();
    if failed.is_empty() {
        return None;
    }
    let socket = &units[1];
    let units = failed.join(" ");
    let message = format!("systemd has given up: {units}");
    Some(Check::warning("service", message).hint(format!(
        "systemctl --user status {units}; to begin again: systemctl --user reset-failed {units}; \
         systemctl --user start {socket}"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn only_what_has_failed_is_told() {
        let units = ["a.service".to_owned(), "a.socket".to_owned()];
        assert_eq!(judged(&units, "active\nactive\n"), None);
        assert_eq!(judged(&units, "inactive\ninactive\n"), None);
        assert_eq!(judged(&units, ""), None);
        let check = judged(&units, "failed\nactive\n").unwrap();
        assert_eq!(check.status, Status::Warning);
        assert_eq!(check.message, "systemd has given up: a.service");
        let check = judged(&units, "failed\nfailed\n").unwrap();
        assert_eq!(check.message, "systemd has given up: a.service a.socket");
    }
}
