//! What a simulated Microsoft 365 consists of: plain data with defaults, and presets for the command line.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    faults::{
        AnswerFault, ContentFault, Disabled, Faults, Odd, Operation, Paging, PagingFault, TokenFault, TokenWrong, When,
        Wrong,
    },
    stamp::{DAY, HOUR},
};

/// The role that every operation but those on `DLP.All` needs.
pub const ROLE_READ: &str = "ActivityFeed.Read";
/// The role that `DLP.All` needs.
pub const ROLE_READ_DLP: &str = "ActivityFeed.ReadDlp";
/// The content types of the service.
pub const CONTENT_TYPES: [&str; 5] =
    ["Audit.AzureActiveDirectory", "Audit.Exchange", "Audit.SharePoint", "Audit.General", "DLP.All"];

/// A whole simulated service. Everything it answers follows from this and from the requests and their times.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Same seed, same requests at the same times: same answers.
    pub seed: u64,
    /// The time that the schedule is counted from; contents exist from `start` − `backfill` of each tenant on.
    pub start: Timestamp,
    /// Scheme, host and port of the API as written into contentUri and NextPageUri, without a slash at the end.
    pub base_url: String,
    /// Accepted as `resource` and in `scope`; the API's own `base_url` always is.
    pub audience: String,
    /// The tenants.
    pub tenants: Vec<TenantProfile>,
    /// How far the service's clock is ahead of the caller's, in milliseconds; may be negative.
    pub skew_ms: i64,
    /// Requests a minute, over all tenants, for callers without PublisherIdentifier.
    pub shared_quota: u32,
    /// HTTP status of AF429 (403 in the documentation's sample).
    pub throttle_status: u16,
    /// How bodies are encoded; whether the real service compresses is not known.
    pub encoding: Encoding,
}

/// How bodies are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Identity,
    /// gzip for callers that accept it.
    Gzip,
}

/// One simulated tenant with one registered application.
#[derive(Clone, Debug)]
pub struct TenantProfile {
    /// Tenant GUID.
    pub id: String,
    /// A domain that the token endpoint also takes, as Entra does.
    pub domain: String,
    /// Application (client) id.
    pub client: String,
    /// Secrets that are valid now.
    pub secrets: Vec<String>,
    /// Application permissions with admin consent.
    pub roles: Vec<String>,
    /// Whether the unified audit log is on.
    pub audit: bool,
    /// Of the OpenID metadata: the sign-in host of the tenant's cloud.
    pub cloud_instance: String,
    /// Of the OpenID metadata: `GCC`, `DODCON` or `DOD`; empty: not told.
    pub region_sub_scope: String,
    /// Content types that have contents; the others are valid but stay empty.
    pub content_types: Vec<String>,
    /// Subscriptions that are enabled from the beginning.
    pub subscribed: Vec<String>,
    /// One content per interval.
    pub interval: Duration,
    /// Records in each content.
    pub records_per_content: u32,
    /// Of 1,000 records of `Audit.General`, how many are of Power Platform.
    pub power_platform_per_mille: u32,
    /// Contents exist this long before [`Profile::start`].
    pub backfill: Duration,
    /// No content is created from this time on.
    pub end: Option<Timestamp>,
    /// Contents on a page. The real number is not published; small, so that paging is exercised.
    pub page_size: usize,
    /// Requests a minute with a PublisherIdentifier.
    pub quota: u32,
    /// Contents stay this long, counted from the start of their aggregation (7 days; 21 were also seen).
    pub keep: Duration,
    /// Seconds that a token lives.
    pub token_seconds: u32,
    /// After a subscription starts, nothing is listed for this long (up to 12 h documented).
    pub silence: Duration,
    /// What is created while a stream is not subscribed, after it once was, is lost.
    pub lose_while_stopped: bool,
    /// Serve these records, each once, in place of made-up ones.
    pub records: Option<Arc<Vec<Bytes>>>,
    /// Faults.
    pub faults: Faults,
}

impl Default for Profile {
    fn default() -> Self {
        Profile {
            seed: 1,
            start: Timestamp::constant(1_767_225_600, 0), // 2026-01-01T00:00:00Z
            base_url: "https://manage.office.com".into(),
            audience: "https://manage.office.com".into(),
            tenants: vec![TenantProfile::default()],
            skew_ms: 0,
            shared_quota: 100,
            throttle_status: 403,
            encoding: Encoding::Identity,
        }
    }
}

impl Default for TenantProfile {
    fn default() -> Self {
        TenantProfile {
            id: "41463f53-8812-40f4-890f-865bf6e35190".into(),
            domain: "contoso.onmicrosoft.com".into(),
            client: "6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11".into(),
            secrets: vec!["simulated-secret".into()],
            roles: vec![ROLE_READ.into()],
            audit: true,
            cloud_instance: "microsoftonline.com".into(),
            region_sub_scope: String::new(),
            content_types: vec!["Audit.General".into()],
            subscribed: Vec::new(),
            interval: Duration::from_secs(600),
            records_per_content: 10,
            power_platform_per_mille: 600,
            backfill: Duration::from_secs(3 * 3_600),
            end: None,
            page_size: 5,
            quota: 2_000,
            keep: Duration::from_secs(7 * 24 * 3_600),
            token_seconds: 3_599,
            silence: Duration::ZERO,
            lose_while_stopped: true,
            records: None,
            faults: Faults::default(),
        }
    }
}

impl TenantProfile {
    /// Another tenant with ids of its own, made from `number`.
    pub fn numbered(number: u32) -> Self {
        TenantProfile {
            id: format!("5e1ec7ed-0000-4000-8000-{number:012x}"),
            domain: format!("tenant{number}.onmicrosoft.com"),
            client: format!("c11e0700-0000-4000-8000-{number:012x}"),
            secrets: vec![format!("simulated-secret-{number}")],
            ..TenantProfile::default()
        }
    }

    /// Sets the number of records a second, keeping the interval where it gives whole records, else stretching it.
    pub fn set_rate(&mut self, per_second: f64) {
        if !per_second.is_finite() || per_second <= 0.0 {
            self.records_per_content = 0;
            return;
        }
        let records = (per_second * self.interval.as_secs_f64()).round().clamp(1.0, 1e6);
        self.records_per_content = records as u32;
        self.interval = Duration::from_secs_f64((records / per_second).clamp(0.05, 86_400.0));
    }

    /// Records a second.
    pub fn rate(&self) -> f64 {
        f64::from(self.records_per_content) / self.interval.as_secs_f64().max(0.001)
    }

    /// Serves `records` instead: all of them have just been published when the schedule starts.
    pub fn serve(&mut self, records: Vec<Bytes>) {
        self.records_per_content = self.records_per_content.max(1);
        let contents = records.len().div_ceil(self.records_per_content as usize).max(1);
        self.interval = Duration::from_millis((HOUR as u64 / contents as u64).clamp(100, 60_000));
        self.backfill = self.interval * u32::try_from(contents + 1).unwrap_or(u32::MAX);
        self.records = Some(Arc::new(records));
    }
}

impl Profile {
    /// Names for `simulate --profile`.
    pub const NAMES: [&'static str; 6] = ["quiet", "demo", "busy", "hostile", "tiny", "days"];

    /// The preset of this name, its schedule counted from `start`.
    pub fn named(name: &str, start: Timestamp, seed: u64) -> Option<Profile> {
        let mut tenant = TenantProfile::default();
        match name {
            "quiet" => {}
            "demo" => {
                tenant.interval = Duration::from_secs(1);
                tenant.set_rate(20.0);
                tenant.backfill = Duration::from_secs(120);
                tenant.page_size = 20;
                tenant.faults.contents = vec![ContentFault { when: When::every(9), odd: Odd::Twice }];
            }
            "busy" => {
                tenant.interval = Duration::from_secs(1);
                tenant.set_rate(1_000.0);
                tenant.backfill = Duration::from_secs(60);
                tenant.page_size = 100;
            }
            "hostile" => {
                tenant.interval = Duration::from_secs(5);
                tenant.set_rate(20.0);
                tenant.backfill = Duration::from_secs(6 * 3_600);
                tenant.token_seconds = 420;
                tenant.faults = hostile();
            }
            // what an agent owes after a week in which nobody fetched anything
            "tiny" => {
                tenant.interval = Duration::from_secs(6);
                tenant.records_per_content = 1;
                tenant.backfill = Duration::from_secs(100_000 * 6);
                roomy(&mut tenant);
            }
            // 10 million events a day, all of them of Power Platform
            "days" => {
                tenant.interval = Duration::from_secs(30);
                tenant.set_rate(116.0);
                tenant.power_platform_per_mille = 1_000;
                tenant.backfill = Duration::from_secs(3 * 24 * 3_600);
                roomy(&mut tenant);
            }
            _ => return None,
        }
        Some(Profile { seed, start, tenants: vec![tenant], ..Profile::default() })
    }
}

/// Lets a long past be read as fast as the agent can: what is measured with it is the agent, not the quota.
fn roomy(tenant: &mut TenantProfile) {
    tenant.page_size = 200;
    tenant.quota = u32::MAX;
}

impl TenantProfile {
    /// No body can be had before `from`: what is listed stays owed without one.
    pub fn hold_bodies(&mut self, from: Timestamp) {
        let when = When { until: Some(from), ..When::ALWAYS };
        let on = Some(Operation::Blob);
        self.faults.answers.push(AnswerFault { when, on, wrong: Wrong::Status(503) });
    }

    /// Names for `simulate --fault`.
    pub const FAULTS: [&'static str; 10] = [
        "audit-off",
        "no-roles",
        "secret-expired",
        "throttled",
        "outage",
        "late",
        "disabled",
        "large-blob",
        "panic",
        "short-tokens",
    ];

    /// Switches a fault on by its name, from `start` on; false when there is no such fault.
    pub fn switch_on(&mut self, name: &str, start: Timestamp) -> bool {
        let after = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        let span = |from, until, wrong| AnswerFault { when: When::between(after(from), after(until)), on: None, wrong };
        let content = |when, odd| ContentFault { when, odd };
        match name {
            "audit-off" => self.audit = false,
            "no-roles" => self.roles.clear(),
            "secret-expired" => {
                self.faults.tokens.push(TokenFault { when: When::ALWAYS, wrong: TokenWrong::SecretExpired });
            }
            // the second minute of every run, so that before and after can be seen
            "throttled" => self.faults.answers.push(span(60, 120, Wrong::Throttled { status: 403, retry_after: None })),
            "outage" => self.faults.answers.push(span(60, 120, Wrong::Internal)),
            "late" => self.faults.contents.push(content(When::every(5), Odd::Late(Duration::from_secs(90)))),
            "disabled" => self.faults.disabled.push((after(60), Disabled::ByTenantAdmin)),
            // about 200 MB at 950 bytes a record
            "large-blob" => self.faults.contents.push(content(When::only(1), Odd::Records(215_000))),
            "panic" => self.faults.contents.push(content(When::every(10), Odd::Panic)),
            "short-tokens" => self.token_seconds = 330,
            _ => return false,
        }
        true
    }
}

/// Everything that a client survives, at rates that still let all of it through.
fn hostile() -> Faults {
    let answer = |every, on, wrong| AnswerFault { when: When::every(every), on: Some(on), wrong };
    let content = |every, odd| ContentFault { when: When::every(every), odd };
    let paging = |every, paging| PagingFault { when: When::every(every), paging };
    Faults {
        answers: vec![
            answer(97, Operation::Blob, Wrong::Throttled { status: 429, retry_after: Some(2) }),
            answer(89, Operation::Blob, Wrong::Throttled { status: 403, retry_after: None }),
            answer(83, Operation::Blob, Wrong::Cut(700)),
            answer(61, Operation::Blob, Wrong::Html),
            answer(53, Operation::Blob, Wrong::Internal),
            answer(47, Operation::Blob, Wrong::Stalled { after: 500, pause: Duration::from_secs(2) }),
            answer(43, Operation::Blob, Wrong::ErrorIn200),
            answer(37, Operation::Contents, Wrong::Status(503)),
            answer(31, Operation::Contents, Wrong::Unauthorized),
            answer(29, Operation::Contents, Wrong::SingleQuoted),
            answer(23, Operation::Contents, Wrong::ContentType(None)),
            answer(19, Operation::Contents, Wrong::Status(408)),
        ],
        contents: vec![
            content(7, Odd::Late(Duration::from_secs(90))),
            content(11, Odd::Twice),
            content(13, Odd::Repeats { every: 2, back: 5 }),
            content(17, Odd::BrokenRecord),
            content(23, Odd::SharedId),
            content(29, Odd::Empty),
            content(31, Odd::Late(Duration::from_secs(5_400))),
            content(41, Odd::Expired),
            content(43, Odd::Differs),
            content(71, Odd::NotJson),
        ],
        paging: vec![
            paging(2, Paging::V1),
            paging(3, Paging::LowerCase),
            paging(5, Paging::EndTime),
            paging(7, Paging::NoStart),
            paging(11, Paging::HeaderUrl),
            paging(13, Paging::Overlap),
        ],
        repeat_before_window: 3,
        odd_records: true,
        ..Faults::default()
    }
}

/// Milliseconds of a duration, at most 100 years.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(36_500 * DAY)
}
