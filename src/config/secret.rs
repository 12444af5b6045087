//! What a reference to a secret leads to.

use std::{ffi::OsString, fmt, fs, io, os::unix::fs::MetadataExt, path::Path};

use auditferry_contract::{Cause, SecretRef, SecretString};

/// A file larger than this is no secret.
const LARGEST: u64 = 64 << 10;

/// Resolves references. It keeps nothing: the caller caches.
#[derive(Clone, Copy)]
pub struct Secrets {
    variable: fn(&str) -> Option<OsString>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets { variable: |name| std::env::var_os(name) }
    }
}

impl Secrets {
    /// Resolves variables by `variable` instead of the process's environment.
    pub fn with_variables(variable: fn(&str) -> Option<OsString>) -> Self {
        Secrets { variable }
    }

    /// The secret, without line breaks at its end. Reads a file synchronously; call it where blocking is allowed.
    ///
    /// # Errors
    /// It is not there, can't be read, is empty or no text: the words say where and what to do, never what was found.
    pub fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Cause> {
        self.look_up(reference).map_err(|cause| Cause::coded("Secret", cause))
    }

    fn look_up(&self, reference: &SecretRef) -> Result<SecretString, Cause> {
        let bytes = match reference {
            SecretRef::File(path) => read(path)?,
            SecretRef::Env(name) => {
                let value = (self.variable)(name);
                let value = value.ok_or_else(|| {
                    Cause(format!("environment variable {name} is not set: set it where the agent is started"))
                })?;
                value.into_encoded_bytes()
            }
            SecretRef::KeyVault(_) => {
                return Err(Cause(format!(
                    "{reference}: this version can't read a key vault yet; use a file or a variable"
                )));
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| Cause(format!("{reference} holds no UTF-8 text")))?;
        let secret = text.trim_end_matches(['\n', '\r']);
        if secret.is_empty() {
            return Err(Cause(format!("{reference} is empty: put the secret there")));
        }
        if secret.contains(['\n', '\r', '\0']) {
            return Err(Cause(format!("{reference} holds more than one line")));
        }
        Ok(SecretString::from(secret.to_string()))
    }

    /// What is unwise about where the secret is, if anything. Fails never: what can't be read, [`resolve`](Self::resolve) tells.
    pub fn warning(&self, reference: &SecretRef) -> Option<String> {
        let SecretRef::File(path) = reference else { return None };
        let mode = fs::metadata(path).ok()?.mode() & 0o7777;
        (mode & 0o007 != 0).then(|| {
            format!(
                "{reference} can be read or changed by every user (mode {mode:04o}): chmod o-rwx {}",
                path.display()
            )
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Cause> {
    let place = path.display();
    let words = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if path.starts_with("/run/credentials") => Cause(format!(
            "file {place} is not there: systemd makes it while the service runs, from what LoadCredential= of the unit names; put the secret there"
        )),
        io::ErrorKind::NotFound => Cause(format!("file {place} is not there: put the secret into it")),
        io::ErrorKind::PermissionDenied => {
            Cause(format!("file {place} can't be read by the agent's user: permission denied"))
        }
        _ => Cause(format!("file {place} can't be read: {error}")),
    };
    let meta = fs::metadata(path).map_err(words)?;
    if !meta.is_file() {
        return Err(Cause(format!("{place} is not a file")));
    }
    if meta.len() > LARGEST {
        return Err(Cause(format!("file {place} has {} bytes: that is no secret", meta.len())));
    }
    fs::read(path).map_err(words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use auditferry_contract::ExposeSecret;

    use super::*;

    fn secrets() -> Secrets {
        Secrets::with_variables(|name| match name {
            "GOOD" => Some("s3cret\n".into()),
            "EMPTY" => Some("\n".into()),
            _ => None,
        })
    }

    fn words(reference: &SecretRef) -> String {
        let words = secrets().resolve(reference).err().map_or(String::new(), |cause| cause.0);
        // each leads to the same entry of the runbook
        words.strip_suffix(" [Secret]").map_or_else(|| format!("no code: {words}"), str::to_owned)
    }

    #[test]
    fn variables() {
        let good = secrets().resolve(&SecretRef::Env("GOOD".into())).expect("it is set");
        assert_eq!(good.expose_secret(), "s3cret");
        assert_eq!(words(&SecretRef::Env("EMPTY".into())), "environment variable EMPTY is empty: put the secret there");
        assert_eq!(
            words(&SecretRef::Env("GONE".into())),
            "environment variable GONE is not set: set it where the agent is started"
        );
        assert!(words(&SecretRef::KeyVault("https://v/s".into())).contains("this version can't read a key vault yet"));
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let reference = SecretRef::File(path.clone());
        assert!(words(&reference).ends_with("is not there: put the secret into it"));
        for (content, expected) in [
            (&b"ab c\r\n\n"[..], Ok("ab c")),
            (b"", Err("is empty: put the secret there")),
            (b"a\nb", Err("more than one line")),
            (b"\xff", Err("no UTF-8 text")),
        ] {
            fs::write(&path, content).expect("written");
            match (secrets().resolve(&reference), expected) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.expose_secret(), expected),
                (Err(_), Err(expected)) => assert!(words(&reference).ends_with(expected), "{}", words(&reference)),
                (found, _) => panic!("{content:?}: {found:?}"),
            }
        }
        fs::write(&path, vec![b'x'; 70_000]).expect("written");
        assert!(words(&reference).ends_with("has 70000 bytes: that is no secret"));
        assert!(words(&SecretRef::File(folder.path().into())).ends_with("is not a file"));
    }

    #[test]
    fn a_file_that_everybody_reads_is_warned_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "x").expect("written");
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(secrets().warning(&SecretRef::File(path.clone())).is_some(), warned, "{mode:o}");
        }
    }
}
