//! Where audit content comes from.

pub mod office365;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::world::Transport;

/// Reads the client secret anew for each token request, so that a rotated one counts without a restart.
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// The secret, or words why it can't be read (never the secret).
    async fn secret(&self) -> Result<SecretString, String>;
}

/// What a source of kind `office365` needs to know. Checked by the configuration: GUIDs are GUIDs, lists not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory (tenant) id, a GUID.
    pub tenant: String,
    /// Application (client) id, a GUID.
    pub client: String,
    /// Base URL of the API, such as `https://manage.office.com`. The token goes to this origin and nowhere else.
    pub api: String,
    /// Base URL of the sign-in host, such as `https://login.microsoftonline.com`.
    pub authority: String,
    /// Whom the token is for; usually the API's base URL.
    pub audience: String,
    /// PublisherIdentifier, a GUID; usually the tenant.
    pub publisher: String,
    /// Content types, such as `Audit.General`.
    pub content: Vec<String>,
    /// CA and proxy.
    pub transport: Transport,
    /// How long an answer's head may take.
    pub timeout: Duration,
    /// How long a body may stall.
    pub stall: Duration,
}
