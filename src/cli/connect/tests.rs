//! Breaks one thing after the other, and reads the first line that is printed.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::{
    config,
    simulator::{InProcess, Profile, Simulator, TenantProfile, faults},
    world::{Body, Clock, Gate, Http, HttpError, HttpFactory, Presented, Transport, random::SystemRandom},
};

/// A service whose hosts may fail before any answer.
#[derive(Clone)]
struct Net {
    service: InProcess,
    /// Part of a host's name, and how it fails.
    broken: Vec<(&'static str, HttpError)>,
}

#[async_trait]
impl HttpFactory for Net {
    fn client(&self, _: &Transport) -> Result<Arc<dyn Http>, HttpError> {
        Ok(Arc::new(self.clone()))
    }

    async fn presented(&self, _: &Transport, address: &str, _: Duration) -> Option<Presented> {
        let words = "the certificate is for `CN=manage` and was issued by `CN=Contoso Web Gateway`".into();
        let no_roots = address.contains("login").then(|| "this system has no CA certificates".into());
        Some(Presented { words, no_roots })
    }
}

#[async_trait]
impl Http for Net {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Body>, HttpError> {
        let host = request.uri().host().unwrap_or_default();
        match self.broken.iter().find(|(part, _)| host.contains(part)) {
            Some((_, error)) => Err(error.clone()),
            None => self.service.send(request, timeout).await,
        }
    }
}

struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2026-01-01T06:00:00Z".parse().unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test that waits pauses tokio's clock")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await
    }
}

fn complaints(tried: &[Tried]) -> String {
    failures(tried) + &warnings(tried)
}

/// What is printed with this service and this configuration.
async fn tried(
    profile: Profile,
    broken: Vec<(&'static str, HttpError)>,
    change: impl Fn(String) -> String,
) -> (String, String) {
    let service = InProcess::new(Arc::new(Mutex::new(Simulator::new(profile))), Arc::new(Still));
    tried_over(Arc::new(Net { service, broken }), change).await
}

async fn tried_over(http: Arc<dyn HttpFactory>, change: impl Fn(String) -> String) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("secret"), "simulated-secret").unwrap();
    let file = format!(
        "[agent]\nstate_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\n[[source]]\nname = \"contoso\"\nkind = \"office365\"\ncloud = \"commercial\"\n\
         tenant = \"41463f53-8812-40f4-890f-865bf6e35190\"\nclient = \"6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11\"\n\
         secret = {{ file = {:?} }}\n\n[[sink]]\nname = \"siem\"\nkind = \"file\"\ncodec = \"ocsf\"\npath = {:?}\n",
        path("state"),
        path("secret"),
        path("events.jsonl"),
    );
    fs::write(path("auditferry.toml"), change(file)).unwrap();
    let config = config::load(&[path("auditferry.toml")], &crate::sinks::registry()).unwrap_or_else(|report| {
        panic!("{}", report.render(false));
    });
    let world =
        World { http, clock: Arc::new(Still), random: Arc::new(SystemRandom::default()), gate: Gate::default() };
    let tried = run(&config, &world).await;
    let shown = |text: String| text.replace(&folder.path().display().to_string(), "DIR");
    (shown(complaints(&tried)), shown(text(&tried)))
}

/// One tenant that is subscribed, changed.
fn tenant(change: impl Fn(&mut TenantProfile)) -> Profile {
    let mut tenant = TenantProfile { subscribed: vec!["Audit.General".into()], ..TenantProfile::default() };
    change(&mut tenant);
    Profile { tenants: vec![tenant], ..Profile::default() }
}

fn connect(code: &'static str, words: &str) -> HttpError {
    HttpError::Connect { code, words: words.into() }
}

fn same(text: String) -> String {
    text
}

async fn first_line(
    profile: Profile,
    broken: Vec<(&'static str, HttpError)>,
    change: impl Fn(String) -> String,
) -> String {
    let (complaints, text) = tried(profile, broken, change).await;
    let line = complaints.lines().next().unwrap_or_default().to_owned();
    let code = code_of(&line).unwrap_or_else(|| panic!("no code in: {line}\n{text}"));
    let runbook = include_str!("../../../docs/runbook.md");
    assert!(
        runbook.contains(&format!("`{code}`")) || runbook.contains(&format!("#### {code}\n")),
        "the runbook lacks {code}"
    );
    line
}

#[tokio::test]
async fn when_all_is_well_every_step_says_so() {
    let (complaints, text) = tried(tenant(|_| {}), vec![], same).await;
    assert_eq!(complaints, "");
    let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("  ok ")).collect();
    let named = |name: &str| steps.iter().any(|step| step.trim_start_matches("  ok ").trim_start().starts_with(name));
    for name in [
        "state_dir",
        "disk",
        "listen",
        "sign-in host",
        "clock",
        "cloud",
        "api host",
        "token",
        "permissions",
        "subscription Audit.General",
        "listing Audit.General",
        "audit",
        "open",
    ] {
        assert!(named(name), "{name}: {text}");
    }
    assert!(text.contains("its Ok is worth: stored: on stable storage at the destination"), "{text}");
    assert!(text.contains("works; 5 contents in the last 24 hours on the first page, the newest 8 h old"), "{text}");
    assert!(text.contains("it was on 8 h ago, when the newest content was published"), "{text}");
    assert!(text.ends_with("everything that the agent needs was there\n"), "{text}");
}

#[tokio::test]
async fn nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (state, events) = (folder.path().join("state"), folder.path().join("events.jsonl"));
    let service = tenant(|tenant| tenant.subscribed.clear());
    let (_, text) = tried(service, vec![], |text| {
        let mut changed = String::new();
        for line in text.lines() {
            changed += &match line {
                line if line.starts_with("state_dir") => format!("state_dir = {state:?}\n"),
                line if line.starts_with("path") => format!("path = {events:?}\n"),
                line => format!("{line}\n"),
            };
        }
        changed
    })
    .await;
    assert!(text.contains("none yet: `auditferry run` starts it"), "{text}");
    for made in [&state, &events] {
        assert!(!Path::exists(made), "{} was made", made.display());
    }
}

#[tokio::test]
async fn the_first_line_says_what_to_do_about_the_tenant() {
    let line = first_line(tenant(|tenant| tenant.secrets = vec!["another".into()]), vec![], same).await;
    assert!(line.starts_with("error: source `contoso`, token: getting a token failed: the client secret of app 6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11 is wrong; in Entra ID > App registrations > Certificates & secrets create a secret and put its value (not its id) where `secret` of this source points"), "{line}");
    assert!(line.ends_with(" [AADSTS7000215]"), "{line}");

    let line =
        first_line(tenant(|tenant| assert!(tenant.switch_on("secret-expired", Timestamp::UNIX_EPOCH))), vec![], same)
            .await;
    assert!(
        line.contains("has expired; in Entra ID > App registrations > Certificates & secrets create a new secret"),
        "{line}"
    );
    assert!(line.ends_with(" [AADSTS7000222]"), "{line}");

    // no consent: the tenant does not know the app
    let line =
        first_line(tenant(|tenant| tenant.client = "00000000-0000-4000-8000-000000000000".into()), vec![], same).await;
    assert!(line.contains("is unknown in tenant 41463f53-8812-40f4-890f-865bf6e35190; check `client` and `tenant` of this source; the app must be registered, or consented to, in this tenant"), "{line}");

    let line = first_line(tenant(|tenant| tenant.roles.clear()), vec![], same).await;
    assert!(line.starts_with("error: source `contoso`, permissions: app 6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11 lacks the permission ActivityFeed.Read; in Entra ID > App registrations > API permissions add the application permission ActivityFeed.Read of Office 365 Management APIs and grant admin consent [NoPermission]"), "{line}");

    let service = tenant(|tenant| {
        tenant.audit = false;
        tenant.subscribed.clear();
    });
    let line = first_line(service, vec![], same).await;
    assert_eq!(
        line,
        "warning: source `contoso`, audit: whether it is on is seen only when a subscription is started: `auditferry subscriptions start` does, and says; or run Get-AdminAuditLogConfig | Format-List UnifiedAuditLogIngestionEnabled in Exchange Online PowerShell, and if that says False, Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true [AuditOff]"
    );

    let line = first_line(tenant(|tenant| tenant.region_sub_scope = "GCC".into()), vec![], same).await;
    assert_eq!(
        line,
        "error: source `contoso`, cloud: tenant 41463f53-8812-40f4-890f-865bf6e35190 is in cloud `gcc`, and this source says `commercial`: set `cloud = \"gcc\"` [WrongCloud]"
    );

    let line =
        first_line(tenant(|tenant| tenant.id = "00000000-0000-4000-8000-000000000000".into()), vec![], same).await;
    assert!(line.starts_with("error: source `contoso`, cloud: asking for the tenant failed: tenant 41463f53-8812-40f4-890f-865bf6e35190 was not found at https://login.microsoftonline.com; check `tenant` (the directory id) and `cloud` of this source"), "{line}");

    let throttled = faults::AnswerFault {
        when: faults::When::ALWAYS,
        on: None,
        wrong: faults::Wrong::Throttled { status: 429, retry_after: Some(30) },
    };
    let line = first_line(tenant(|tenant| tenant.faults.answers.push(throttled.clone())), vec![], same).await;
    assert!(line.contains("subscriptions: listing subscriptions failed: tenant 41463f53-8812-40f4-890f-865bf6e35190 is throttled; auditferry slows down by itself; if it goes on, look for other clients with the same `publisher`"), "{line}");

    let disabled = (Timestamp::UNIX_EPOCH, faults::Disabled::ByTenantAdmin);
    let (complaints, _) = tried(tenant(|tenant| tenant.faults.disabled.push(disabled)), vec![], same).await;
    let line = complaints.lines().next().unwrap_or_default();
    assert_eq!(
        line,
        "warning: source `contoso`, subscription Audit.General: disabled: `auditferry run` starts it again; find out who stopped it, since what happened meanwhile is lost [AF20023]"
    );
}

#[tokio::test]
async fn the_first_line_says_what_to_do_about_the_way() {
    let line = first_line(Profile { skew_ms: 600_000, ..tenant(|_| {}) }, vec![], same).await;
    assert_eq!(
        line,
        "error: source `contoso`, clock: this machine's clock is 600 s behind the service's; set it by NTP (timedatectl set-ntp true): windows, tokens and certificates depend on it [Clock]"
    );

    for (host, error, expected) in [
        (
            "login",
            connect("Dns", "the host's name can't be resolved (no such host)"),
            "error: source `contoso`, sign-in host: asking for the tenant failed at https://login.microsoftonline.com: the host's name can't be resolved (no such host); check this machine's name resolution; where only a proxy leads out, set `proxy` of this source [Dns]",
        ),
        (
            "manage",
            connect("TlsIssuer", "the server's certificate has an unknown issuer"),
            "error: source `contoso`, api host: listing subscriptions failed at https://manage.office.com: the server's certificate has an unknown issuer; put the certificate of that authority into a file and name it in `ca` of this source; a private CA may be in the way: the certificate is for `CN=manage` and was issued by `CN=Contoso Web Gateway` [TlsIssuer]",
        ),
        (
            "login",
            connect("ProxyRefused", "the proxy refused the connection (403)"),
            "error: source `contoso`, sign-in host: asking for the tenant failed at https://login.microsoftonline.com: the proxy refused the connection (403); check `proxy` of this source (or HTTPS_PROXY), and that the proxy lets this machine through to that host [ProxyRefused]",
        ),
        (
            "login",
            connect("TlsIssuer", "the server's certificate has an unknown issuer"),
            "error: source `contoso`, sign-in host: asking for the tenant failed at https://login.microsoftonline.com: the server's certificate has an unknown issuer; put the certificate of that authority into a file and name it in `ca` of this source; this system has no CA certificates; the certificate is for `CN=manage` and was issued by `CN=Contoso Web Gateway` [TlsIssuer]",
        ),
        (
            "manage",
            connect("TlsName", "the server's certificate is for another host"),
            "error: source `contoso`, api host: listing subscriptions failed at https://manage.office.com: the server's certificate is for another host; check `api` and `authority` of this source, and what stands in between; the certificate is for `CN=manage` and was issued by `CN=Contoso Web Gateway` [TlsName]",
        ),
    ] {
        assert_eq!(first_line(tenant(|_| {}), vec![(host, error)], same).await, expected);
    }
}

#[tokio::test]
async fn a_wrong_cloud_is_guessed_from_other_sign_in_hosts() {
    // the commercial host does not know it, the one for the US government does
    let gone = connect("Dns", "no such host");
    let service = tenant(|tenant| {
        tenant.cloud_instance = "microsoftonline.us".into();
        tenant.region_sub_scope = "DODCON".into();
    });
    let line = first_line(service, vec![("partner", gone)], |text| text.replace("\"commercial\"", "\"china\"")).await;
    assert!(line.contains("sign-in host"), "a host that does not answer is no reason to guess: {line}");
    let service = tenant(|tenant| {
        tenant.cloud_instance = "microsoftonline.us".into();
        tenant.region_sub_scope = "DODCON".into();
    });
    let line = first_line(service, vec![], same).await;
    assert!(
        line.ends_with(
            "is in cloud `gcc-high`, and this source says `commercial`: set `cloud = \"gcc-high\"` [WrongCloud]"
        ),
        "{line}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = first_line(tenant(|_| {}), vec![], |text| text.replace("127.0.0.1:0", &address.to_string())).await;
    assert!(line.starts_with(&format!("error: agent, listen: agent.listen {address} can't be used: ")), "{line}");
    assert!(
        line.ends_with("is another program there? end it, or give agent.listen another port [ListenTaken]"),
        "{line}"
    );
}

#[tokio::test]
async fn the_first_line_says_what_to_do_about_a_sink() {
    let line = first_line(tenant(|_| {}), vec![], |text| text.replace("events.jsonl", "gone/events.jsonl")).await;
    assert_eq!(
        line,
        "error: sink `siem`, open: can't open DIR/gone/events.jsonl: the folder DIR/gone is not there; create it [FilePath]"
    );
}

#[test]
fn failures_come_first_with_their_code() {
    let steps = vec![
        Step::warning("clock", "Clock", "90 s ahead"),
        Step::cause("open", "splunk:8088 answered 403; look at option `token` [HecToken]"),
        Step::cause("write", "no code here"),
        Step::skipped("listing", "no token"),
    ];
    let tried = [Tried { table: "sink", name: Some("siem".into()), steps }];
    assert_eq!(
        complaints(&tried),
        "error: sink `siem`, open: splunk:8088 answered 403; look at option `token` [HecToken]\n\
         error: sink `siem`, write: no code here\n\
         warning: sink `siem`, clock: 90 s ahead [Clock]\n"
    );
    assert!(!tried[0].works());
    let text = text(&tried);
    assert!(text.contains("\n  FAILS open "), "{text}");
    assert!(text.contains("\n  -     listing                      not tried: no token\n"), "{text}");
}

#[cfg(feature = "tls")]
mod tls;
