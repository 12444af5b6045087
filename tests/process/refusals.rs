//! Microsoft refuses: exact words, the agent stays up, live but not ready, and ends as asked.

use crate::{
    agent::{SECRET, Stage},
    support::{PATIENCE, file_sink, get, level, start},
};

const TENANT: &str = "41463f53-8812-40f4-890f-865bf6e35190";
const APP: &str = "6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11";

/// What differs from run to run, taken out.
fn steady(words: &str, base: &str) -> String {
    let mut words = words.replace(base, "BASE");
    for (mark, end) in [("the next try is in ", " s"), ("Correlation ID: ", "”")] {
        if let Some(at) = words.find(mark).map(|at| at + mark.len())
            && let Some(length) = words[at..].find(end)
        {
            words.replace_range(at..at + length, "…");
        }
    }
    words
}

/// Runs against a simulator with `arguments`; `expected` is the first error without what differs, `code` its code.
fn refused(arguments: &[&str], secret: Option<&str>, tenant: Option<&str>, expected: &str, code: &str) {
    let stage = Stage::new(&[&["--profile", "quiet"], arguments].concat());
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let text = stage.said("auditferry.toml");
    let base = text.lines().find(|line| line.starts_with("api ")).and_then(|line| line.split('"').nth(1)).unwrap();
    let mut command = stage.command(&["run"]);
    if let Some(secret) = secret {
        command.env(SECRET, secret);
    }
    if let Some(tenant) = tenant {
        std::fs::write(stage.path("auditferry.toml"), text.replace(TENANT, tenant)).unwrap();
    }
    let mut agent = start(&stage, &mut command, "agent.log");
    stage.wait(PATIENCE, "an error", || !level(&stage.said("agent.log"), "ERROR").is_empty());
    let tenant = tenant.unwrap_or(TENANT);
    let first = steady(&level(&stage.said("agent.log"), "ERROR")[0], base);
    assert_eq!(
        first,
        format!(
            "{expected}; the next try is in … s tenant=\"{tenant}\" content_type=\"Audit.General\" code=\"{code}\""
        )
    );
    let (status, words) = get(&stage, "/readyz").unwrap();
    let ready = format!(
        "not ready: no stream of source simulated was listed lately\nstale: {tenant}/Audit.General: {expected}\n"
    );
    assert_eq!((status, steady(&words, base)), (503, ready));
    assert_eq!(get(&stage, "/livez").unwrap(), (200, "live\n".to_owned()));
    assert!(agent.0.try_wait().unwrap().is_none(), "the agent stays up");
    assert_eq!(agent.terminate(), Some(0));
    let log = stage.said("agent.log");
    assert!(!log.contains(secret.unwrap_or("simulated-secret")), "a secret was logged:\n{log}");
}

#[test]
fn a_wrong_secret() {
    let words = format!(
        "getting a token failed: the client secret of app {APP} is wrong; in Entra ID > App registrations > Certificates & secrets \
         create a secret and put its value (not its id) where `secret` of this source points (AADSTS7000215, http 401 from BASE; \
         it said: “AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
         value, not the client secret… Correlation ID: …”)"
    );
    refused(&[], Some("a-mistyped-one"), None, &words, "AADSTS7000215");
}

#[test]
fn an_expired_secret() {
    let words = format!(
        "getting a token failed: the client secret of app {APP} has expired; in Entra ID > App registrations > Certificates & secrets \
         create a new secret and put its value where `secret` of this source points; it is read again by itself, a systemd credential at a \
         restart (AADSTS7000222, http 401 from BASE; it said: “AADSTS7000222: The provided client secret keys for app '{APP}' are expired. Visit the Azure portal to \
         create … Correlation ID: …”)"
    );
    refused(&["--fault", "secret-expired"], None, None, &words, "AADSTS7000222");
}

#[test]
fn no_consent() {
    let words = format!(
        "listing subscriptions failed: the app {APP} lacks a permission for this request; in Entra ID > App registrations > API \
         permissions add the application permission ActivityFeed.Read of Office 365 Management APIs (for DLP.All also \
         ActivityFeed.ReadDlp) and grant admin consent; it may take some minutes to count (AF10001, http 401 from BASE; it said: \
         “The permission set () sent in the request did not include the expected permission ActivityFeed.Read.”)"
    );
    refused(&["--fault", "no-roles"], None, None, &words, "AF10001");
}

#[test]
fn the_audit_log_is_off() {
    let words = format!(
        "starting a subscription failed: the audit log of tenant {TENANT} is switched off, was switched on less than an hour ago, \
         or the tenant is in another cloud; run in Exchange Online PowerShell: Set-AdminAuditLogConfig \
         -UnifiedAuditLogIngestionEnabled $true and wait 60 minutes; auditferry tries again every 15 to 30 minutes (AuditOff, http \
         400 from BASE; it said: “Tenant {TENANT} does not exist.”)"
    );
    refused(&["--fault", "audit-off"], None, None, &words, "AuditOff");
}

#[test]
fn the_wrong_tenant() {
    let other = "11111111-2222-4333-8444-555555555555";
    let words = format!(
        "getting a token failed: tenant {other} was not found at BASE; check `tenant` (the directory id) and `cloud` of this source: \
         each cloud has its own sign-in host (AADSTS90002, http 400 from BASE; it said: “AADSTS90002: Tenant '{other}' not found. \
         Check to make sure you have the correct tenant ID and are signing into… Correlation ID: …”)"
    );
    refused(&[], None, Some(other), &words, "AADSTS90002");
}
