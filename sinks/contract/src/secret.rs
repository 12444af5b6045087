//! Where a secret is, never what it is.

use std::{fmt, path::PathBuf};

use toml_span::{DeserError, Deserialize, Value, de_helpers::TableHelper, value::ValueInner};

use crate::options::{mistake, text};

/// Where a secret is. In the configuration: `{ file = "…" }`, `{ env = "…" }` or `{ key_vault = "…" }`.
///
/// It is resolved through [`Env::secret`](crate::Env::secret) only. It never holds the secret, so printing it is safe.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// A file's content without the line break at its end.
    File(PathBuf),
    /// An environment variable of the agent.
    Env(String),
    /// Identifier of an Azure Key Vault secret, `https://NAME.vault.azure.net/secrets/SECRET`.
    KeyVault(String),
}

impl SecretRef {
    /// What the configuration is told when the secret itself stands there; renderers hide the value by this text.
    pub const INLINE: &'static str = "a secret stands in the configuration itself";

    /// What the configuration is told when `env` holds no name of a variable; hidden likewise, since it may be the secret.
    pub const NO_NAME: &'static str = "not the name of an environment variable";
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file {}", path.display()),
            SecretRef::Env(name) => write!(f, "environment variable {name}"),
            SecretRef::KeyVault(id) => write!(f, "key vault secret {id}"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRef({self})")
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        const FORMS: &str = "write { file = \"/path\" } or { env = \"NAME\" }";
        match value.as_ref() {
            // the value is neither kept nor quoted: it may be the real one
            ValueInner::String(_) | ValueInner::Integer(_) => {
                let hint = format!("put it into a file or a variable and {FORMS}; treat this one as disclosed");
                return Err(mistake(value.span, SecretRef::INLINE, &hint).into());
            }
            ValueInner::Table(_) => {}
            other => {
                let what = format!("expected a reference to a secret, found {}", article(other.type_str()));
                return Err(mistake(value.span, &what, FORMS).into());
            }
        }
        let span = value.span;
        let mut table = TableHelper::new(value)?;
        let file = text(&mut table, "file");
        let env = text(&mut table, "env");
        let key_vault = text(&mut table, "key_vault");
        if table.errors.is_empty() && table.table.is_empty() {
            let given = [file.is_some(), env.is_some(), key_vault.is_some()].iter().filter(|g| **g).count();
            if given != 1 {
                let what = if given == 0 { "the reference is empty" } else { "a secret can be in one place only" };
                table.errors.push(mistake(span, what, FORMS));
            }
        }
        // the secret itself is easily put here; those of Entra hold a `~`, so most are noticed
        let fits = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(name) = env.as_ref().filter(|name| !fits(&name.value)) {
            let hint = "give the variable's name (letters, digits, `_`), not its value";
            table.errors.push(mistake(name.span, SecretRef::NO_NAME, hint));
        }
        table.finalize(None)?;
        let reference = file
            .map(|f| SecretRef::File(f.value.into()))
            .or(env.map(|e| SecretRef::Env(e.value)))
            .or(key_vault.map(|k| SecretRef::KeyVault(k.value)));
        reference.ok_or_else(|| mistake(span, "the reference is empty", FORMS).into())
    }
}

fn article(type_name: &str) -> String {
    format!("{} {type_name}", if type_name.starts_with(['a', 'i']) { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SecretRef, String> {
        let mut value = toml_span::parse(text).map_err(|e| e.to_string())?;
        let mut table = TableHelper::new(&mut value).map_err(|e| e.to_string())?;
        let read = table.required::<SecretRef>("secret");
        table.finalize(None).map_err(|e| e.to_string())?;
        read.map_err(|e| e.to_string())
    }

    #[test]
    fn the_three_forms() {
        assert_eq!(read("secret = { file = '/run/x' }"), Ok(SecretRef::File("/run/x".into())));
        assert_eq!(read("secret = { env = 'X' }"), Ok(SecretRef::Env("X".into())));
        assert_eq!(read("secret.key_vault = 'https://v'"), Ok(SecretRef::KeyVault("https://v".into())));
    }

    #[test]
    fn an_inline_secret_is_not_echoed() {
        let error = read("secret = 'hunter2'").unwrap_err();
        assert!(error.starts_with(SecretRef::INLINE) && !error.contains("hunter2"), "{error}");
        for value in ["hunter 2", "hunter2~", "2hunter", "hunter=2"] {
            let error = read(&format!("secret = {{ env = '{value}' }}")).unwrap_err();
            assert!(error.starts_with(SecretRef::NO_NAME) && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn none_two_and_unknown_places_are_mistakes() {
        assert!(read("secret = {}").unwrap_err().starts_with("the reference is empty"));
        assert!(read("secret = { file = 'a', env = 'b' }").unwrap_err().starts_with("a secret can be in one place"));
        assert!(read("secret = { fil = 'a' }").unwrap_err().contains("fil"));
        assert!(read("secret = ['a']").unwrap_err().starts_with("expected a reference to a secret, found an array"));
        assert!(read("secret = { file = '' }").unwrap_err().starts_with("`file` is empty"));
    }
}
