//! What can be done about a disk that refuses something.

use std::io;
use std::path::Path;

use clsess_proto::{ErrorCode, Failure};

/// What can be done about a path that a broker needs and the disk refuses.
#[must_use]
pub fn remedy(error: &io::Error, path: &Path) -> Option<String> {
    use io::ErrorKind as E;
    let dir = path.parent().unwrap_or(path).display();
    match error.kind() {
        E::StorageFull | E::QuotaExceeded => Some(format!("make room: df -h {dir}")),
        E::ReadOnlyFilesystem | E::PermissionDenied => Some(format!(
            "{dir} has to be writable; other places: CLSESS_STATE_DIR, CLSESS_RUNTIME_DIR"
        )),
        _ => None,
    }
}

/// Why a broker cannot begin.
#[must_use]
pub fn refuses(code: ErrorCode, what: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(code, format!("cannot {what} {}: {error}", path.display()));
    match remedy(error, path) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
