//! `[[source]]`: where audit content comes from.

use std::{fmt, path::PathBuf, time::Duration};

use auditferry_contract::{
    Options, SecretRef,
    options::{self, TimeSpan, mistake},
    toml_span::Spanned,
};
use url::Url;

use super::{
    cloud::Cloud,
    predicates::Select,
    read::{self, printable},
    suggest,
};

const DAY: Duration = Duration::from_secs(86_400);
/// The service keeps content for 7 days; nothing older can be asked for.
pub(super) const LONGEST_START: Duration = Duration::from_secs(7 * 86_400);

/// A content type of the Management Activity API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ContentType {
    /// `Audit.AzureActiveDirectory`
    AzureActiveDirectory,
    /// `Audit.Exchange`
    Exchange,
    /// `Audit.SharePoint`
    SharePoint,
    /// `Audit.General`: where the Power Platform's records are.
    General,
    /// `DLP.All`: needs `ActivityFeed.ReadDlp`.
    Dlp,
}

impl ContentType {
    /// Every content type, as the service writes it.
    pub const NAMES: [(&str, ContentType); 5] = [
        ("Audit.AzureActiveDirectory", ContentType::AzureActiveDirectory),
        ("Audit.Exchange", ContentType::Exchange),
        ("Audit.SharePoint", ContentType::SharePoint),
        ("Audit.General", ContentType::General),
        ("DLP.All", ContentType::Dlp),
    ];

    /// As the service writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, c)| *c == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of source it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// Office 365 Management Activity API.
    Office365,
}

/// `[[source]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceConfig {
    /// Unique among sources.
    pub name: String,
    /// What kind it is.
    pub kind: SourceKind,
    /// The cloud whose hosts are the defaults below.
    pub cloud: Cloud,
    /// Tenant GUID, lower case.
    pub tenant: String,
    /// Application (client) id, a GUID in lower case.
    pub client: String,
    /// Where the client secret is.
    pub secret: SecretRef,
    /// Content types, each a stream; at least one, none twice.
    pub content: Vec<ContentType>,
    /// What is kept of what is read.
    pub select: Select,
    /// How far back the first run reaches, at most 7 days. Default: all that the service still has.
    pub start: Duration,
    /// How often each stream is listed.
    pub poll: Duration,
    /// Origin of the API: https, or http to this machine.
    pub api: Url,
    /// Origin of the sign-in service, likewise.
    pub authority: Url,
    /// The audience that the token must have; the scope is this and `/.default`.
    pub audience: String,
    /// PublisherIdentifier of every request, a GUID in lower case. Default: the tenant.
    pub publisher: String,
    /// PEM file of certificates added to the system's.
    pub ca: Option<PathBuf>,
    /// Proxy; `None`: the usual environment variables.
    pub proxy: Option<Url>,
}

/// A source, and where in the file its parts are, for what only all sources together tell.
pub(super) struct ReadSource {
    pub config: SourceConfig,
    pub name: Spanned<()>,
    pub content: Spanned<()>,
}

impl SourceConfig {
    /// The keys of the table, for the tests that hold the documentation to them.
    pub const KEYS: [&str; 16] = [
        "name",
        "kind",
        "cloud",
        "tenant",
        "client",
        "secret",
        "content",
        "select",
        "start",
        "poll",
        "api",
        "authority",
        "audience",
        "publisher",
        "ca",
        "proxy",
    ];

    /// Reads the table; mistakes stay in it.
    pub(super) fn read(table: &mut Options<'_>) -> Option<ReadSource> {
        let name = read::name(table);
        let kind = required_choice(table, "kind", &[("office365", SourceKind::Office365)]);
        let cloud = or_default(table, "cloud", Cloud::Commercial, |t| read::choice(t, "cloud", &Cloud::NAMES));
        let tenant =
            required_guid(table, "tenant", "the directory (tenant) id on the app registration's overview page");
        let client =
            required_guid(table, "client", "the application (client) id on the app registration's overview page");
        let secret = table.required::<SecretRef>("secret").ok();
        let content = or_default(table, "content", (vec![ContentType::General], Spanned::new(())), content);
        let select = or_default(table, "select", Select::PowerPlatform, |t| read::choice(t, "select", &Select::NAMES));
        let start = or_default(table, "start", LONGEST_START, |t| {
            options::duration(t, "start", Duration::ZERO..=LONGEST_START)
        });
        let poll = or_default(table, "poll", Duration::from_secs(60), |t| {
            options::duration(t, "poll", Duration::from_secs(1)..=DAY)
        });
        let api = or_default(table, "api", None, |t| read::origin(t, "api").map(Some));
        let authority = or_default(table, "authority", None, |t| read::origin(t, "authority").map(Some));
        let audience = or_default(table, "audience", None, |t| options::text(t, "audience").map(|a| Some(a.value)));
        let publisher = or_default(table, "publisher", None, |t| {
            let hint = "the tenant GUID of the company that runs this agent; leave it out to use the tenant's own";
            read::guid(t, "publisher", hint).map(|p| Some(p.value))
        });
        let ca = or_default(table, "ca", None, |t| options::path(t, "ca").map(Some));
        let proxy = or_default(table, "proxy", None, |t| read::proxy(t, "proxy").map(Some));
        let (name, tenant, cloud, (content, place)) = (name?, tenant?, cloud?, content?);
        let preset = |given: Option<Url>, preset: &str| given.or_else(|| Url::parse(preset).ok());
        Some(ReadSource {
            name: Spanned::with_span((), name.span),
            content: Spanned::with_span((), if place.span.is_empty() { name.span } else { place.span }),
            config: SourceConfig {
                name: name.value,
                kind: kind?,
                cloud,
                client: client?,
                secret: secret?,
                content,
                select: select?,
                start: start?,
                poll: poll?,
                api: preset(api?, cloud.api())?,
                authority: preset(authority?, cloud.authority())?,
                audience: audience?.unwrap_or_else(|| cloud.audience().to_string()),
                publisher: publisher?.unwrap_or_else(|| tenant.clone()),
                tenant,
                ca: ca?,
                proxy: proxy?,
            },
        })
    }

    /// Effective settings, as `check` prints them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let content: Vec<_> = self.content.iter().map(|c| c.as_str()).collect();
        vec![
            ("kind", "office365".to_string()),
            ("cloud", self.cloud.name().to_string()),
            ("tenant", self.tenant.clone()),
            ("client", self.client.clone()),
            ("secret", format!("*** ({})", self.secret)),
            ("content", content.join(", ")),
            ("select", self.select.name().to_string()),
            ("start", TimeSpan(self.start).to_string()),
            ("poll", TimeSpan(self.poll).to_string()),
            ("api", origin_text(&self.api)),
            ("authority", origin_text(&self.authority)),
            ("audience", self.audience.clone()),
            ("publisher", self.publisher.clone()),
            ("ca", self.ca.as_ref().map_or("the system's".to_string(), |p| p.display().to_string())),
            ("proxy", self.proxy.as_ref().map_or("as the environment says".to_string(), origin_text)),
        ]
    }
}

fn origin_text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_string()
}

/// `default` when the key is not there, `None` when it is there and wrong. Asks in both cases, so that the table
/// knows the key when it lists what it takes.
pub(super) fn or_default<'de, T>(
    table: &mut Options<'de>,
    name: &'static str,
    default: T,
    read: impl FnOnce(&mut Options<'de>) -> Option<T>,
) -> Option<T> {
    let given = table.contains(name);
    let value = read(table);
    if given { value } else { Some(default) }
}

/// A choice that must be made.
pub(super) fn required_choice<T: Copy>(table: &mut Options<'_>, name: &'static str, known: &[(&str, T)]) -> Option<T> {
    let given = table.contains(name);
    let value = read::choice(table, name, known);
    options::missing(table, name, given);
    value
}

fn required_guid(table: &mut Options<'_>, name: &'static str, hint: &str) -> Option<String> {
    let given = table.contains(name);
    let value = read::guid(table, name, hint);
    options::missing(table, name, given);
    value.map(|v| v.value)
}

/// Content types, capitals ignored, since people copy them from pages that differ.
fn content(table: &mut Options<'_>) -> Option<(Vec<ContentType>, Spanned<()>)> {
    let list = read::list::<String>(
        table,
        "content",
        "leave it out for [\"Audit.General\"], where the Power Platform's records are",
    )?;
    let place = Spanned::with_span((), list.first().map(|i| i.span).unwrap_or_default());
    let mut types = Vec::new();
    let before = table.errors.len();
    for item in list {
        match ContentType::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&item.value)) {
            Some((name, kind)) if types.contains(kind) => {
                table.errors.push(mistake(item.span, &format!("`content` names {name} twice"), ""));
            }
            Some((_, kind)) => types.push(*kind),
            None => {
                let what = format!("no content type `{}`", printable(&item.value));
                let hint = suggest::hint(&item.value, &ContentType::NAMES.map(|(name, _)| name));
                table.errors.push(mistake(item.span, &what, &hint));
            }
        }
    }
    (table.errors.len() == before).then_some((types, place))
}
