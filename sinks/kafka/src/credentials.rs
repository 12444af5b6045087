//! What only an open sink knows: the password and the files' content, as librdkafka's properties.

use auditferry_contract::{Cause, Env, SecretString};

use crate::settings::Settings;

/// Reads them anew, so that a rotated certificate or password is used at the next opening.
///
/// # Errors
/// A file or secret can't be read, or holds something else than it should.
pub async fn read(settings: &Settings, env: &dyn Env) -> Result<Vec<(&'static str, SecretString)>, Cause> {
    let mut list = Vec::new();
    if settings.encrypted {
        let pem = settings.tls.pem(env).await?;
        list.push(match pem.ca {
            Some(ca) => ("ssl.ca.pem", ca.into()),
            // an OpenSSL that was built from source has no CAs of its own: librdkafka then tries the usual places
            None => ("ssl.ca.location", "probe".into()),
        });
        list.extend(pem.certificate.map(|certificate| ("ssl.certificate.pem", certificate.into())));
        list.extend(pem.key.map(|key| ("ssl.key.pem", key)));
    }
    if let Some(sasl) = &settings.sasl {
        list.push(("sasl.password", env.secret(&sasl.password).await?));
    }
    Ok(list)
}
