//! The taps of sessions: the one listener that their agents' traffic passes, and what each agent needs to
//! find it.
//!
//! An agent knows the listener by its port and a secret, in its environment, for as long as it lives. So
//! the port is written down for the next broker, and the secret beside the session. A broker that dies cuts
//! the connections; the client asks again by itself, and finds the next one there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clsess_place::place::private_dir;
use clsess_proto::{ErrorCode, Failure, Tap as Way};
use clsess_tap::{Address, Admitted, Authority, Outward, Pass, Secret, Seen, Tap};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};

use crate::disk;
use crate::store::{self, Env};

/// The provider's host, where the agent's environment does not name another one.
const PROVIDER: &str = "https://api.anthropic.com";
const BASE_URL: &str = "ANTHROPIC_BASE_URL";
const EXTRA_CA: &str = "NODE_EXTRA_CA_CERTS";
/// With small letters, as most programs know them, and the client too.
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const NO_PROXIES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The file in a session's directory with what its agent was told.
const FILE: &str = "tap";
/// The one with the certificates that its agent trusts beside the known ones.
const CERTIFICATES: &str = "tap-ca.pem";
/// The files of a broker.
const PORT: &str = "port";

/// Pieces of a session's traffic that wait to be looked at, of 64 KiB at most. What there is no room for
/// passes unseen, and the session says that it missed something.
const WAITING: usize = 512;

/// All taps of a broker.
#[derive(Debug)]
pub struct Taps {
    /// The broker's own directory for them.
    dir: PathBuf,
    tap: Mutex<Option<Arc<Tap>>>,
}

/// What a session holds while its agent's traffic is read.
pub struct Tapped {
    _admitted: Admitted,
    // Dropped behind what it serves.
    tap: Arc<Tap>,
    /// How.
    pub way: Way,
    /// What passes.
    pub seen: mpsc::Receiver<Seen>,
}

/// What is written down of it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    way: Way,
    secret: String,
    /// The provider's URL, as the agent would have reached it.
    provider: String,
}

impl Taps {
    /// In this directory, which is made with the first tap.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            tap: Mutex::default(),
        }
    }

    /// Listens where the last broker did, if any session in `sessions` needs it.
    pub async fn again(&self, sessions: &Path) {
        let dirs = std::fs::read_dir(sessions).into_iter().flatten().flatten();
        let mut dirs = dirs.map(|entry| entry.path());
        if !dirs.any(|dir| dir.join(FILE).exists()) {
            return;
        }
        let known = std::fs::read_to_string(self.dir.join(PORT));
        let Some(port) = known.ok().and_then(|text| text.trim().parse().ok()) else {
            return;
        };
        match Tap::listen(port).await {
            Ok(tap) => *self.tap.lock().await = Some(Arc::new(tap)),
            Err(error) => tracing::warn!(port, %error, "the taps' port is taken"),
        }
    }

    /// Where all agents are let through.
    async fn listening(&self) -> Result<Arc<Tap>, Failure> {
        let mut tap = self.tap.lock().await;
        if let Some(tap) = &*tap {
            return Ok(Arc::clone(tap));
        }
        let listening = Tap::listen(0).await.map_err(cannot)?;
        private_dir(&self.dir)?;
        let port = format!("{}\n", listening.port());
        disk::write_private(&self.dir.join(PORT), port.as_bytes()).map_err(cannot)?;
        Ok(Arc::clone(tap.insert(Arc::new(listening))))
    }

    /// Opens a tap for a session's next agent, and changes the agent's environment so that it comes this way.
    ///
    /// # Errors
    /// By name; nothing is started then.
    pub async fn open(&self, dir: &Path, way: Way, env: &mut Env) -> Result<Tapped, Failure> {
        let tap = self.listening().await?;
        let provider = value(env, BASE_URL).filter(|url| !url.is_empty());
        let provider = provider.unwrap_or_else(|| PROVIDER.to_owned());
        let address = address(&provider)?;
        let secret = Secret::random().map_err(cannot)?;
        let kept = Kept {
            way,
            secret: secret.text().to_owned(),
            provider,
        };
        let outward = outward(env)?;
        let tapped = self.admit(&tap, &kept, outward)?;
        match way {
            Way::Proxy if !address.is_tls() => {
                return Err(
                    cannot(format!("{BASE_URL} is no https")).hint("clsess new --tap base-url")
                );
            }
            Way::Proxy => {
                let authority = self.authority(&address)?;
                let file = dir.join(CERTIFICATES);
                let trusted = trusted(env, authority.certificate_pem());
                disk::write_private(&file, trusted.as_bytes()).map_err(cannot)?;
                let proxy = format!("http://clsess:{}@127.0.0.1:{}", kept.secret, tap.port());
                for name in PROXIES {
                    set(env, name, &proxy);
                }
                set(env, EXTRA_CA, &file);
                for name in NO_PROXIES {
                    edit_list(env, name, |list| {
                        clsess_tap::without(list, address.host_and_port())
                    });
                }
            }
            Way::BaseUrl => {
                let base = format!("http://127.0.0.1:{}/s/{}", tap.port(), kept.secret);
                set(env, BASE_URL, &base);
                // The user's proxy is for the way out.
                for name in NO_PROXIES {
                    let list = value(env, name).unwrap_or_default();
                    let list = match list.is_empty() {
                        true => "127.0.0.1".to_owned(),
                        false => format!("{list},127.0.0.1"),
                    };
                    set(env, name, &list);
                }
            }
            Way::Off => {}
        }
        let written = serde_json::to_vec(&kept).map_err(cannot)?;
        disk::write_private(&dir.join(FILE), &written).map_err(cannot)?;
        Ok(tapped)
    }

    /// The tap of an agent that an earlier broker has started; `None` where it has none.
    ///
    /// # Errors
    /// It can no longer be had: the agent does not reach its provider any more, and has to be started anew.
    pub fn taken_up(&self, dir: &Path) -> Result<Option<Tapped>, Failure> {
        let text = match std::fs::read(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        let kept: Kept = serde_json::from_slice(&text).map_err(cannot)?;
        let tap = self.tap.try_lock().ok().and_then(|tap| tap.clone());
        let tap = tap.ok_or_else(|| cannot("its port is taken"))?;
        let env = store::load_env(dir).map_err(cannot)?;
        self.admit(&tap, &kept, outward(&env)?).map(Some)
    }

    fn admit(&self, tap: &Arc<Tap>, kept: &Kept, outward: Outward) -> Result<Tapped, Failure> {
        let (sender, seen) = mpsc::channel(WAITING);
        let address = address(&kept.provider)?;
        let way = match kept.way {
            Way::Proxy => {
                let (host, port) = address.host_and_port();
                clsess_tap::Way::Proxy {
                    host: host.to_owned(),
                    port,
                    authority: Arc::new(self.authority(&address)?),
                }
            }
            Way::BaseUrl | Way::Off => clsess_tap::Way::BaseUrl { upstream: address },
        };
        let secret = Secret::from_text(&kept.secret).ok_or_else(|| cannot("no secret"))?;
        let admitted = tap.admit(Pass {
            secret,
            way,
            outward,
            seen: sender,
        });
        Ok(Tapped {
            _admitted: admitted,
            tap: Arc::clone(tap),
            way: kept.way,
            seen,
        })
    }

    fn authority(&self, provider: &Address) -> Result<Authority, Failure> {
        Authority::load_or_make(&self.dir, provider.host_and_port().0).map_err(cannot)
    }
}

impl Tapped {
    /// What keeps the port from other users for as long as the agent's holder has it, which the agent has
    /// in its environment: it would tell them its key.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn hold(&self) -> Result<OwnedFd, Failure> {
        self.tap.hold().map_err(cannot)
    }
}

/// A session has no agent any more.
pub fn forget(dir: &Path) -> [PathBuf; 2] {
    [dir.join(FILE), dir.join(CERTIFICATES)]
}

fn cannot(why: impl Display) -> Failure {
    Failure::new(
        ErrorCode::AgentStartFailed,
        format!("the agent's traffic cannot be read: {why}"),
    )
    .hint("clsess new --tap off")
}

/// Where the provider is.
fn address(provider: &str) -> Result<Address, Failure> {
    let known = provider.parse();
    known.map_err(|why| cannot(format!("{BASE_URL} is {why}")))
}

fn outward(env: &Env) -> Result<Outward, Failure> {
    let text = |text: &OsString| text.to_str().map(str::to_owned);
    let vars: BTreeMap<String, String> = env
        .iter()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect();
    Outward::from_environment(&vars).map_err(cannot)
}

/// The user's own extra certificates, and this one.
fn trusted(env: &Env, own: &str) -> String {
    let extra = value(env, EXTRA_CA).and_then(|path| std::fs::read_to_string(path).ok());
    let extra = extra.unwrap_or_default();
    format!("{}\n{own}", extra.trim_end())
}

fn value(env: &Env, name: &str) -> Option<String> {
    let found = env.iter().rfind(|(it, _)| it == name)?;
    Some(found.1.to_string_lossy().into_owned())
}

fn set(env: &mut Env, name: &str, value: impl AsRef<OsStr>) {
    env.retain(|(it, _)| it != name);
    env.push((name.into(), value.as_ref().to_owned()));
}

fn edit_list(env: &mut Env, name: &str, edit: impl Fn(&str) -> String) {
    if let Some(list) = value(env, name) {
        set(env, name, edit(&list));
    }
}
