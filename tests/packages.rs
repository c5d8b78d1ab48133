//! What is installed, and packed for Debian, is whole and works where it is put. The binary is the one
//! of the tests: nothing is compiled here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{CLSESS, find, skipped};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory with a short name.
fn directory() -> TempDir {
    let mut dir = tempfile::Builder::new();
    dir.prefix("clsess-t.").tempdir_in("/tmp").unwrap()
}

/// `make WORD...` of the checkout, which installs the binary of the tests.
fn make(words: &[&str]) -> Command {
    let mut make = Command::new("make");
    make.args(["--silent", "--no-print-directory"]).args(words);
    make.arg(format!("BINARY={CLSESS}")).current_dir(root());
    // Of the make that runs the tests, where it does.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    // It takes most of the time, and is dpkg's own.
    make.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    make
}

/// Runs it; what it says.
#[track_caller]
fn well(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{stderr}");
    assert_eq!(stderr, "", "{command:?}");
    String::from_utf8(stdout).unwrap()
}

/// Each file below, by its path from here, with its mode.
fn files(dir: &Path) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            all.insert(name, mode);
        }
    }
    all
}

/// The man pages of the checkout, each as the file that it is below `share`.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(root().join("man")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.starts_with("clsess"));
    pages
        .map(|name| format!("share/man/man{}/{name}", name.rsplit_once('.').unwrap().1))
        .collect()
}

/// What is to be below the prefix, with units in `units`.
fn installed(units: &str) -> BTreeMap<String, u32> {
    let mut all = pages();
    assert!(all.len() > 30, "{all:?}");
    all.extend(
        [
            "share/bash-completion/completions/clsess",
            "share/zsh/site-functions/_clsess",
            "share/fish/vendor_completions.d/clsess.fish",
            "share/clsess/clsess.plist",
        ]
        .map(str::to_owned),
    );
    all.extend(["service", "socket"].map(|kind| format!("{units}/systemd/user/clsess@.{kind}")));
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    let contrib = files(&contrib).into_keys();
    all.extend(contrib.map(|file| format!("share/clsess/contrib/{file}")));
    let mut all: BTreeMap<_, _> = all.into_iter().map(|name| (name, 0o644)).collect();
    all.insert("bin/clsess".to_owned(), 0o755);
    all
}

/// Whether it runs.
fn runs(binary: &Path) {
    let home = directory();
    let mut version = Command::new(binary);
    version.arg("version").env_clear().env("HOME", home.path());
    version.env("CLSESS_RUNTIME_DIR", home.path());
    let said = well(&mut version);
    let wanted = format!("clsess {} (protocol", env!("CARGO_PKG_VERSION"));
    assert!(said.starts_with(&wanted), "{said}");
    assert_eq!(files(home.path()), BTreeMap::new());
}

#[test]
fn it_is_installed_below_destdir_and_taken_away() {
    let dir = directory();
    let destdir = format!("DESTDIR={}", dir.path().display());
    for _ in 0..2 {
        well(&mut make(&["install", &destdir]));
        let prefix = dir.path().join("usr/local");
        assert_eq!(files(&prefix), installed("lib"));
        assert_eq!(files(dir.path()).len(), installed("lib").len());
        runs(&prefix.join("bin/clsess"));
        let unit = prefix.join("lib/systemd/user/clsess@.service");
        let unit = fs::read_to_string(unit).unwrap();
        assert!(unit.contains("ExecStart=\"/usr/local/bin/clsess\" "));
    }
    // Of somebody else.
    let other = dir.path().join("usr/local/share/man/man1/other.1");
    fs::write(&other, "").unwrap();
    well(&mut make(&["uninstall", &destdir]));
    let left: Vec<String> = files(dir.path()).into_keys().collect();
    assert_eq!(left, ["usr/local/share/man/man1/other.1"]);
}

#[test]
fn it_is_installed_into_a_home_whose_name_has_a_blank() {
    let dir = directory();
    let home = dir.path().join("my home");
    let prefix = home.join(".local");
    let prefix_is = format!("PREFIX={}", prefix.display());
    well(make(&["install", &prefix_is]).env("HOME", &home));
    assert_eq!(files(&prefix), installed("share"));
    assert_eq!(files(dir.path()).len(), installed("share").len());
    runs(&prefix.join("bin/clsess"));
    let units = prefix.join("share/systemd/user");
    let Some(analyze) = find("systemd-analyze") else {
        return eprintln!("skipped: there is no systemd-analyze");
    };
    let mut verify = Command::new(analyze);
    verify.args(["verify", "--user", "--man=no"]);
    verify.args(["./clsess@default.service", "./clsess@default.socket"]);
    well(verify.current_dir(units).env("XDG_RUNTIME_DIR", dir.path()));
}

/// Where nothing was built, `make install` builds; where something is named, it does not.
#[test]
fn a_binary_that_is_named_is_not_built() {
    let named = well(&mut make(&["--dry-run", "install"]));
    assert!(
        named.contains(CLSESS) && !named.contains("cargo"),
        "{named}"
    );
}

/// The fields of a package.
fn field(package: &Path, name: &str) -> String {
    let mut field = Command::new("dpkg-deb");
    let said = well(field.arg("--field").arg(package).arg(name));
    said.trim_end().to_owned()
}

#[test]
fn the_package_for_debian_is_whole() {
    for tool in ["dpkg-deb", "dpkg-shlibdeps", "strip", "man"] {
        if find(tool).is_none() {
            let _: Option<()> = skipped(&format!("there is no {tool}"));
            return;
        }
    }
    let dir = directory();
    let deb = format!("DEB={}", dir.path().join("a deb").display());
    let said = well(&mut make(&["deb", &deb]));
    let package = PathBuf::from(said.lines().last().unwrap());
    let architecture = well(Command::new("dpkg").arg("--print-architecture"));
    let name = format!(
        "clsess_{}-1_{}.deb",
        env!("CARGO_PKG_VERSION"),
        architecture.trim()
    );
    assert_eq!(package, dir.path().join("a deb").join(name));
    assert_eq!(field(&package, "Package"), "clsess");
    assert_eq!(
        field(&package, "Version"),
        format!("{}-1", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(field(&package, "Architecture"), architecture.trim());
    assert!(field(&package, "Maintainer").ends_with('>'));
    // This binary is linked dynamically, unless somebody has built the tests otherwise.
    let libraries = Command::new("ldd").arg(CLSESS).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let needs = field(&package, "Depends");
    assert_eq!(
        needs.contains("libc6 (>= "),
        libraries.contains("libc.so.6"),
        "{needs:?}"
    );

    let there = dir.path().join("root");
    well(
        Command::new("dpkg")
            .arg("--extract")
            .args([&package, &there]),
    );
    assert_eq!(files(&there), packed());
    runs(&there.join("usr/bin/clsess"));
    let page = there.join("usr/share/man/man1/clsess.1.gz");
    let mut man = Command::new("man");
    man.args(["--local-file", "--warnings"])
        .arg(page)
        .env("LC_ALL", "C.UTF-8");
    let shown = well(man.env("MANPAGER", "cat"));
    assert!(
        shown.contains("clsess - Named warm Claude Code sessions"),
        "{shown:.500}"
    );
    let copyright = fs::read_to_string(there.join("usr/share/doc/clsess/copyright")).unwrap();
    assert!(copyright.contains("\n tokio v1"), "{copyright}");
    is_installed_by_dpkg(&package, dir.path());
}

/// The files of the package: those of `make install`, as Debian wants them.
fn packed() -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for (name, mode) in installed("lib") {
        let name = match name.as_str() {
            "share/clsess/clsess.plist" => continue,
            page if page.starts_with("share/man/") => format!("{page}.gz"),
            name => name.replace("site-functions", "vendor-completions"),
        };
        all.insert(format!("usr/{name}"), mode);
    }
    for name in ["changelog.Debian.gz", "changelog.gz", "copyright"] {
        all.insert(format!("usr/share/doc/clsess/{name}"), 0o644);
    }
    all.insert("usr/share/lintian/overrides/clsess".to_owned(), 0o644);
    all
}

/// By dpkg itself, as far as one can without a whole system: what it depends on is not there.
fn is_installed_by_dpkg(package: &Path, dir: &Path) {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root can install a package");
    }
    let system = dir.join("system");
    for part in ["info", "updates", "triggers"] {
        fs::create_dir_all(system.join("var/lib/dpkg").join(part)).unwrap();
    }
    for file in ["status", "available"] {
        fs::write(system.join("var/lib/dpkg").join(file), "").unwrap();
    }
    let dpkg = |words: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", system.display()));
        dpkg.args(["--force-depends", "--log=/dev/null"])
            .args(words);
        let done = dpkg.stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    dpkg(&["--install", package.to_str().unwrap()]);
    assert!(dpkg(&["--status", "clsess"]).contains("Status: install ok installed"));
    assert_eq!(dpkg(&["--verify", "clsess"]), "");
    runs(&system.join("usr/bin/clsess"));
    dpkg(&["--purge", "clsess"]);
    assert!(!system.join("usr/bin/clsess").exists());
}

/// `cargo install --path .` takes minutes (`make cargo-install`): here is what it could stumble over.
#[test]
fn cargo_installs_the_command_and_nothing_else() {
    let cargo = |words: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        well(command.args(words).arg("--quiet").current_dir(root()))
    };
    let about = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    let packages = about["packages"].as_array().unwrap();
    let manifest = root().join("Cargo.toml");
    let of_root =
        |package: &&serde_json::Value| package["manifest_path"] == manifest.to_str().unwrap();
    let package = packages.iter().find(of_root).unwrap();
    let targets = package["targets"].as_array().unwrap().iter();
    let programs = targets.filter(|target| target["kind"][0] == "bin");
    let programs: Vec<_> = programs.map(|target| &target["name"]).collect();
    assert_eq!(programs, ["clsess"]);
    // The lock is that of this manifest, so `--locked` is not refused.
    let tree = cargo(&["tree", "--locked", "--offline", "--depth=0"]);
    assert!(tree.starts_with("clsess v"), "{tree}");
}
