//! The network namespace in which nothing but loopback exists.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where system programs are, whatever PATH says.
const SYSTEM_DIRS: [&str; 4] = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];

/// Interfaces that some kernels put, down and without address, into every new namespace.
const FALLBACK_DEVICES: [&str; 9] = [
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
];

/// Finds a program in PATH or where system programs are.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(SYSTEM_DIRS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Refuses a namespace that reaches further than this machine's loopback.
pub fn check() -> Result<(), String> {
    let table = std::fs::read_to_string("/proc/self/net/dev")
        .map_err(|error| format!("cannot list the network interfaces: {error}"))?;
    let others: Vec<_> = outside(&table);
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "refusing to run where there are network interfaces ({}): a test could reach the outside. \
         Start it as `unshare -n fake-api serve` (root) or `unshare -rn fake-api serve`, \
         or say --no-namespace-check",
        others.join(", ")
    ))
}

/// The interfaces in `/proc/net/dev` that could lead outside.
fn outside(table: &str) -> Vec<&str> {
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names
        .filter(|name| *name != "lo" && !FALLBACK_DEVICES.contains(name))
        .collect()
}

/// Brings the loopback interface up.
pub fn loopback_up() -> Result<(), String> {
    let ip = find("ip").ok_or(
        "`ip` is not installed (package iproute2); without it loopback stays down in the namespace",
    )?;
    let output = Command::new(&ip)
        .args(["link", "set", "lo", "up"])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", ip.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip link set lo up` failed: {}", reason.trim()))
}

/// Replaces this process by `program args...` in a new namespace; returns only on failure.
pub fn enter(program: &Path, args: &[String]) -> String {
    let Some(unshare) = find("unshare") else {
        return "`unshare` is not installed (package util-linux)".into();
    };
    let flags = if nix::unistd::geteuid().is_root() {
        "-n"
    } else {
        "-rn"
    };
    let error = Command::new(&unshare)
        .arg(flags)
        .arg("--")
        .arg(program)
        .args(args)
        .exec();
    format!("cannot run {}: {error}", unshare.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_inside() {
        let head = "Inter-| Receive\n face |bytes\n";
        assert!(outside(&format!("{head}    lo:  1 2 3\n sit0: 0 0\n")).is_empty());
        assert_eq!(outside(&format!("{head}    lo: 1\n  eth0: 1\n")), ["eth0"]);
    }
}
