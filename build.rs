//! Writes down what `auditferry --version` says of this build: the commit, and versions of libraries that don't tell them at run time.
//!
//! The commit is looked for in release builds only: a build for trying something would be made anew after every commit, and its commit would
//! not be the truth anyway. `AUDITFERRY_COMMIT` overrides; a source archive without repository has none.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What decides what is built: changes here that are not committed are told.
const SOURCES: [&str; 5] = ["Cargo.lock", "Cargo.toml", "build.rs", "sinks", "src"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AUDITFERRY_COMMIT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = env::var("AUDITFERRY_COMMIT").ok().map(|commit| commit.trim().to_owned());
    let commit = match given {
        Some(commit) if !commit.is_empty() => commit,
        _ if release => commit(&root).unwrap_or_else(|| "unknown".to_owned()),
        _ => "unknown (a development build)".to_owned(),
    };
    println!("cargo::rustc-env=AUDITFERRY_COMMIT={commit}");
    for (package, variable) in [("rustls", "AUDITFERRY_RUSTLS"), ("openssl-src", "AUDITFERRY_OPENSSL")] {
        println!("cargo::rustc-env={variable}={}", locked(&root, package).unwrap_or_default());
    }
}

/// The commit of this very repository, not of one that a source archive was unpacked into.
fn commit(root: &Path) -> Option<String> {
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // whatever a commit or a checkout writes to; a file that is not there would have this run at every build
    let reference = git(root, &["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(reference.as_deref()) {
        let place = git(root, &["rev-parse", "--git-path", name]).map(|path| root.join(path));
        if let Some(place) = place.filter(|place| place.exists()) {
            println!("cargo::rerun-if-changed={}", place.display());
        }
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let mut changes = vec!["status", "--porcelain", "--"];
    changes.extend(SOURCES);
    let changed = git(root, &changes).is_none_or(|changes| !changes.is_empty());
    Some(if changed { format!("{commit}, with changes that are not committed") } else { commit })
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    // a build must not take the index's lock from somebody at work
    let output = Command::new("git").arg("--no-optional-locks").args(arguments).current_dir(root).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version that Cargo.lock names; none where this is a dependency of somebody's, with a lock file of their own.
fn locked(root: &Path, package: &str) -> Option<String> {
    if env::var_os("CARGO_HOME").is_some_and(|home| root.starts_with(home)) {
        return None;
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).ok()?;
    println!("cargo::rerun-if-changed=Cargo.lock");
    let rest = lock.split(&format!("name = \"{package}\"\nversion = \"")).nth(1)?;
    rest.split('"').next().map(str::to_owned)
}
