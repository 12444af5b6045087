//! A source: hosts, clock, cloud, token and its roles, subscriptions, audit, a first listing.

use std::{sync::Arc, time::Duration};

use auditferry_contract::is_loopback;
use jiff::{SignedDuration, Timestamp};

use super::{Step, Tried};
use crate::{
    cli::run,
    config::{Cloud, SourceConfig},
    env::AgentEnv,
    show::ago,
    source::office365::{AUDIT_OFF, Heard, Office365, SourceError, Tenant, window::Window},
    world::{Presented, Transport, World},
};

/// Tokens tolerate five minutes (Entra ID); windows are reckoned by the service's clock, so less than that is only untidy.
const CLOCK_WARNING: SignedDuration = SignedDuration::from_secs(30);
const CLOCK_WRONG: SignedDuration = SignedDuration::from_mins(5);

/// For looking at a certificate that was refused.
const PRESENTED: Duration = Duration::from_secs(15);

pub(super) async fn look(source: &SourceConfig, world: &World, env: &Arc<AgentEnv>) -> Tried {
    let steps = match run::client(source, world, env, []) {
        Ok(client) => Look { source, world, client, steps: Vec::new() }.all().await,
        Err(words) => vec![Step::cause("client", &words)],
    };
    Tried { table: "source", name: Some(source.name.clone()), steps }
}

struct Look<'a> {
    source: &'a SourceConfig,
    world: &'a World,
    client: Office365,
    steps: Vec<Step>,
}

/// A step failed, and what follows rests on it.
struct Ends;

impl Look<'_> {
    async fn all(mut self) -> Vec<Step> {
        let mut rest =
            vec!["sign-in host", "clock", "cloud", "api host", "token", "permissions", "subscriptions", "listing"];
        if self.steps_of_a_source().await.is_err() {
            let last = self.steps.last().map(|step| step.step.clone()).unwrap_or_default();
            rest.retain(|name| self.steps.iter().all(|step| !step.step.starts_with(name.trim_end_matches('s'))));
            for name in rest {
                self.steps.push(Step::skipped(name, &format!("`{last}` failed")));
            }
        }
        self.steps
    }

    async fn steps_of_a_source(&mut self) -> Result<(), Ends> {
        let (authority, api) = (self.source.authority.to_string(), self.source.api.to_string());
        let tenant = match self.client.tenant(None).await {
            Ok((tenant, heard)) => {
                self.steps.push(Step::ok(
                    "sign-in host",
                    format!("{} knows the tenant{}", shown(&authority), self.way(&authority)),
                ));
                self.clock(heard)?;
                tenant
            }
            Err(error) if error.status.is_some() => {
                self.steps
                    .push(Step::ok("sign-in host", format!("{} answers{}", shown(&authority), self.way(&authority))));
                return Err(self.unknown_tenant(error).await);
            }
            Err(error) => return Err(self.unreached("sign-in host", &authority, error).await),
        };
        self.cloud(&tenant)?;
        match self.client.reach_api().await {
            Ok(_) => self.steps.push(Step::ok("api host", format!("{} answers{}", shown(&api), self.way(&api)))),
            Err(error) => return Err(self.unreached("api host", &api, error).await),
        }
        self.token().await?;
        let enabled = self.subscriptions().await?;
        self.listings(&enabled).await
    }

    /// How a host was reached. Where the way leads by a proxy, it is worth naming: it is the first suspect.
    fn way(&self, address: &str) -> String {
        let trusted = if address.starts_with("https:") { "; its certificate is trusted" } else { "" };
        let variable = || ["HTTPS_PROXY", "https_proxy"].into_iter().find(|name| std::env::var_os(name).is_some());
        let proxy = match &self.source.proxy {
            // its login is nobody's business
            Some(proxy) => format!(", by the proxy {}", proxy.host_str().unwrap_or_default()),
            None if is_loopback(shown(address).rsplit_once(':').map_or(shown(address), |(host, _)| host)) => {
                String::new()
            }
            None => variable().map_or(String::new(), |name| format!(", by the proxy that {name} names")),
        };
        proxy + trusted
    }

    fn fail(&mut self, step: &str, error: SourceError) -> Ends {
        self.steps.push(Step::failed(step, &error.code, error.words));
        Ends
    }

    async fn unreached(&mut self, step: &str, address: &str, mut error: SourceError) -> Ends {
        if error.code.starts_with("Tls") {
            let transport = Transport {
                ca: self.source.ca.as_ref().and_then(|path| std::fs::read(path).ok()),
                proxy: self.source.proxy.as_ref().map(ToString::to_string),
            };
            if let Some(presented) = self.world.http.presented(&transport, address, PRESENTED).await {
                let Presented { words, no_roots } = presented;
                error.words += &match no_roots {
                    Some(why) => format!("; {why}; {words}"),
                    None if error.code == "TlsIssuer" => format!("; a private CA may be in the way: {words}"),
                    None => format!("; {words}"),
                };
            }
        }
        self.fail(step, error)
    }

    fn clock(&mut self, heard: Heard) -> Result<(), Ends> {
        let Some(ahead) = heard.ahead else {
            self.steps.push(Step::warning(
                "clock",
                "Clock",
                "the service told no time: compare this machine's with another one",
            ));
            return Ok(());
        };
        let side = if ahead.is_negative() { "ahead of" } else { "behind" };
        let words = format!("this machine's clock is {} s {side} the service's", ahead.abs().as_secs());
        let act = "set it by NTP (timedatectl set-ntp true): windows, tokens and certificates depend on it";
        if ahead.abs() > CLOCK_WRONG {
            self.steps.push(Step::failed("clock", "Clock", format!("{words}; {act}")));
            return Err(Ends);
        }
        self.steps.push(match ahead.abs() > CLOCK_WARNING {
            true => Step::warning("clock", "Clock", format!("{words}; {act}")),
            false => Step::ok("clock", "agrees with the service's"),
        });
        Ok(())
    }

    /// The configured sign-in host does not know the tenant: perhaps another cloud's does.
    async fn unknown_tenant(&mut self, error: SourceError) -> Ends {
        let configured = self.source.authority.as_str().trim_end_matches('/').to_owned();
        // hosts of one's own (a test, a gateway) are not guessed around
        if Cloud::NAMES.iter().any(|(_, cloud)| cloud.authority() == configured) {
            let mut asked = vec![configured];
            for (_, cloud) in Cloud::NAMES {
                let authority = cloud.authority();
                if asked.iter().any(|host| host == authority) {
                    continue;
                }
                asked.push(authority.to_owned());
                let Ok((tenant, _)) = self.client.tenant(Some(authority)).await else { continue };
                let Some(found) = Cloud::of_tenant(&tenant.instance, &tenant.sub_scope) else { continue };
                self.steps.push(self.wrong_cloud(found));
                return Ends;
            }
        }
        self.steps.push(Step::failed("cloud", &error.code, error.words));
        Ends
    }

    fn wrong_cloud(&self, found: Cloud) -> Step {
        let words = format!(
            "tenant {} is in cloud `{}`, and this source says `{}`: set `cloud = \"{}\"`",
            self.source.tenant,
            found.name(),
            self.source.cloud.name(),
            found.name()
        );
        Step::failed("cloud", "WrongCloud", words)
    }

    fn cloud(&mut self, tenant: &Tenant) -> Result<(), Ends> {
        let configured = self.source.cloud;
        let overridden = self.source.api.as_str().trim_end_matches('/') != configured.api();
        match Cloud::of_tenant(&tenant.instance, &tenant.sub_scope) {
            Some(found) if found != configured && !overridden => {
                self.steps.push(self.wrong_cloud(found));
                Err(Ends)
            }
            Some(found) if found != configured => {
                let words = format!("the tenant is in cloud `{}`; `api` and `authority` are your own", found.name());
                self.steps.push(Step::warning("cloud", "WrongCloud", words));
                Ok(())
            }
            Some(found) => {
                self.steps.push(Step::ok("cloud", format!("the tenant is in `{}`, as configured", found.name())));
                Ok(())
            }
            None => {
                let words = format!("the sign-in host does not say which; configured is `{}`", configured.name());
                self.steps.push(Step::ok("cloud", words));
                Ok(())
            }
        }
    }

    async fn token(&mut self) -> Result<(), Ends> {
        let findings = self.client.check_token().await.map_err(|error| self.fail("token", error))?;
        self.steps.push(Step::ok("token", format!("app {} gets one", self.source.client)));
        if findings.is_empty() {
            self.steps.push(Step::ok("permissions", "the token has what the content types need"));
        }
        let fatal = findings.iter().any(|finding| finding.fatal);
        for finding in findings {
            self.steps.push(match finding.fatal {
                true => Step::failed("permissions", finding.code, finding.words),
                false => Step::warning("permissions", finding.code, finding.words),
            });
        }
        if fatal { Err(Ends) } else { Ok(()) }
    }

    /// The content types that can be listed.
    async fn subscriptions(&mut self) -> Result<Vec<String>, Ends> {
        let states = self.client.subscription_states().await.map_err(|error| {
            let step = if error.code == AUDIT_OFF { "audit" } else { "subscriptions" };
            self.fail(step, error)
        })?;
        let mut enabled = Vec::new();
        for (content, status) in states {
            let step = format!("subscription {content}");
            match status.as_deref() {
                Some("enabled") => {
                    self.steps.push(Step::ok(step, "enabled"));
                    enabled.push(content);
                }
                None => self
                    .steps
                    .push(Step::ok(step, "none yet: `auditferry run` starts it; its first content can take 12 hours")),
                Some(other) => {
                    let words = format!(
                        "{}: `auditferry run` starts it again; find out who stopped it, since what happened meanwhile is lost",
                        if other.is_empty() { "without a status" } else { other }
                    );
                    self.steps.push(Step::warning(step, "AF20023", words));
                }
            }
        }
        Ok(enabled)
    }

    async fn listings(&mut self, enabled: &[String]) -> Result<(), Ends> {
        let now = self.client.service_now();
        let day = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now);
        // never empty: a day before now
        let Some(window) = Window::new(day, now) else { return Ok(()) };
        let mut published = None;
        for content in enabled {
            let step = format!("listing {content}");
            match self.client.list(content, window, None).await {
                Ok(page) => {
                    let newest = page.contents.iter().map(|content| content.created).max();
                    let more = if matches!(page.next, Ok(None)) { "" } else { " on the first page" };
                    let number = page.contents.len();
                    published = published.max(newest);
                    self.steps.push(Step::ok(step, listed(number, more, newest, now)));
                }
                Err(error) => {
                    let step = if error.code == AUDIT_OFF { "audit".to_owned() } else { step };
                    return Err(self.fail(&step, error));
                }
            }
        }
        self.audit(enabled.is_empty(), published, now);
        Ok(())
    }

    /// The service refuses to start a subscription while the audit log is off, and says nothing at any other question: that is known by then.
    fn audit(&mut self, unsubscribed: bool, published: Option<Timestamp>, now: Timestamp) {
        let age = |at: Timestamp| ago(now.as_millisecond() - at.as_millisecond());
        self.steps.push(match published {
            Some(newest) => Step::ok("audit", format!("it was on {} ago, when the newest content was published", age(newest))),
            None if unsubscribed => Step::warning(
                "audit",
                "AuditOff",
                "whether it is on is seen only when a subscription is started: `auditferry subscriptions start` does, and says; or run Get-AdminAuditLogConfig | Format-List UnifiedAuditLogIngestionEnabled in Exchange Online PowerShell, and if that says False, Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true",
            ),
            None => Step::warning(
                "audit",
                "AuditOff",
                "nothing was published in the last 24 hours: a new subscription takes up to 12; if it is older, run Get-AdminAuditLogConfig | Format-List UnifiedAuditLogIngestionEnabled in Exchange Online PowerShell, and if that says False, Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true",
            ),
        });
    }
}

fn listed(number: usize, more: &str, newest: Option<Timestamp>, now: Timestamp) -> String {
    match newest {
        None => "works; no content in the last 24 hours".to_owned(),
        Some(newest) => {
            let age = ago(now.as_millisecond() - newest.as_millisecond());
            format!("works; {number} contents in the last 24 hours{more}, the newest {age} old")
        }
    }
}

/// Host of an address.
fn shown(address: &str) -> &str {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    bare.split('/').next().unwrap_or(bare)
}
