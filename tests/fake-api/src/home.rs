//! A home directory in which the real client starts without a question.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The key the client is given. It opens nothing.
pub const KEY: &str = "sk-ant-made-up-fake-api-0123456789abcdefghij";

/// A home directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Makes one, with a `.claude.json` that trusts these directories.
    pub fn new(trusted: &[PathBuf]) -> Result<Self, String> {
        let template = std::env::temp_dir().join("fake-api.XXXXXX");
        let path = nix::unistd::mkdtemp(&template)
            .map_err(|error| format!("cannot make {}: {error}", template.display()))?;
        let home = Self(path);
        let file = home.0.join(".claude.json");
        std::fs::write(&file, settings(trusted)?.to_string())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        std::fs::create_dir(home.temp())
            .map_err(|error| format!("cannot make {}: {error}", home.temp().display()))?;
        Ok(home)
    }

    /// A directory for the client's temporary files.
    pub fn temp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A process on its way out may write once more meanwhile.
        for _ in 0..3 {
            if std::fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
        }
        eprintln!("fake-api: could not remove {}", self.0.display());
    }
}

/// The content of `.claude.json`.
fn settings(trusted: &[PathBuf]) -> Result<Value, String> {
    let mut projects = Map::new();
    for dir in trusted {
        let dir = dir
            .canonicalize()
            .map_err(|error| format!("--trust {}: {error}", dir.display()))?;
        let name = dir.to_string_lossy().into_owned();
        projects.insert(name, json!({"hasTrustDialogAccepted": true}));
    }
    Ok(json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [KEY.get(KEY.len() - 20..)], "rejected": []},
        "projects": projects,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::new(&[PathBuf::from("/")]).unwrap();
        let path = home.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let text = std::fs::read_to_string(path.join(".claude.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["projects"]["/"]["hasTrustDialogAccepted"], true);
        assert_eq!(
            json["customApiKeyResponses"]["approved"][0]
                .as_str()
                .unwrap()
                .len(),
            20
        );
        drop(home);
        assert!(!path.exists());
        assert!(Home::new(&[PathBuf::from("/no/such/dir")]).is_err());
    }
}
