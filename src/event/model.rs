//! What an event is.

use std::borrow::Cow;

use auditferry_contract::{EventId, Severity};
use jiff::Timestamp;

use super::{Fields, bag::Bag, catalogue::Operation};

/// Where a record came from: what its bytes don't say.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Tenant GUID, as configured.
    pub tenant: &'a str,
    /// Content type of the stream, `Audit.General`.
    pub content_type: &'a str,
    /// Opaque id of the content that held the record.
    pub content_id: &'a str,
    /// When the service published the content: the event's time when the record tells none. The epoch: not known.
    pub content_created: Timestamp,
    /// When the agent fetched it, if it did.
    pub fetched: Option<Timestamp>,
    /// The record's identity.
    pub id: EventId,
}

/// What came of the operation: never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record says it succeeded.
    Success,
    /// The record says it failed.
    Failure,
    /// The record says nothing, or something else.
    Unknown,
}

/// Where an event's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// `CreationTime`.
    Record,
    /// The publication of its content: inexact.
    Content,
    /// Nothing tells it; the time is the epoch.
    Unknown,
}

/// A person, an application or the system.
#[derive(Clone, Debug, Default)]
pub(crate) struct User<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) uid: Option<Cow<'a, str>>,
    /// OCSF `user.type_id`: 0 unknown, 1 user, 2 admin, 3 system, 4 service.
    pub(crate) type_id: u8,
}

impl<'a> User<'a> {
    /// A user named by a text that is a GUID in some records and a name in others.
    pub(crate) fn by(text: Cow<'a, str>) -> Self {
        if is_guid(&text) {
            User { uid: Some(text), ..User::default() }
        } else {
            User { name: Some(text), ..User::default() }
        }
    }

    /// What `type_id` means, in OCSF's words.
    pub(crate) fn type_name(&self) -> &'static str {
        ["Unknown", "User", "Admin", "System", "Service"][usize::from(self.type_id.min(4))]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.uid.is_none()
    }
}

pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// What was acted on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target<'a> {
    pub(crate) uid: Option<Cow<'a, str>>,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) url: Option<Cow<'a, str>>,
    /// Our noun: `app`, `flow`, `environment`, …; empty when not known.
    pub(crate) kind: &'static str,
}

/// A record in the common schema. Codecs read it; it borrows from the record.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub(crate) record: &'a [u8],
    pub(crate) context: Context<'a>,
    pub(crate) fields: Fields<'a>,
    pub(crate) bag: Bag<'a>,
    pub(crate) time: Timestamp,
    pub(crate) time_source: TimeSource,
    pub(crate) record_type: Option<i64>,
    pub(crate) known: Option<&'static Operation>,
    pub(crate) operation: Cow<'a, str>,
    pub(crate) product: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) original_time: Option<Cow<'a, str>>,
    pub(crate) original_id: Option<Cow<'a, str>>,
    pub(crate) event_code: Option<Cow<'a, str>>,
    pub(crate) workload: Option<Cow<'a, str>>,
    pub(crate) organization: Option<Cow<'a, str>>,
    pub(crate) result: Option<Cow<'a, str>>,
    pub(crate) actor: User<'a>,
    pub(crate) ip: Option<Cow<'a, str>>,
    pub(crate) port: Option<u16>,
    pub(crate) user_agent: Option<Cow<'a, str>>,
    pub(crate) environment: Option<Cow<'a, str>>,
    pub(crate) target: Target<'a>,
    pub(crate) grantee: User<'a>,
    pub(crate) privileges: Vec<Cow<'a, str>>,
    pub(crate) correlation: Option<Cow<'a, str>>,
    pub(crate) instance: Option<Cow<'a, str>>,
    pub(crate) unreadable: Option<String>,
}

impl<'a> Event<'a> {
    pub(crate) fn new(record: &'a [u8], context: Context<'a>, fields: Fields<'a>) -> Self {
        let time_source =
            if context.content_created == Timestamp::UNIX_EPOCH { TimeSource::Unknown } else { TimeSource::Content };
        Event {
            record,
            context,
            fields,
            bag: Bag::default(),
            time: context.content_created,
            time_source,
            record_type: None,
            known: None,
            operation: Cow::Borrowed("unknown"),
            product: "other",
            outcome: Outcome::Unknown,
            original_time: None,
            original_id: None,
            event_code: None,
            workload: None,
            organization: None,
            result: None,
            actor: User::default(),
            ip: None,
            port: None,
            user_agent: None,
            environment: None,
            target: Target::default(),
            grantee: User::default(),
            privileges: Vec::new(),
            correlation: None,
            instance: None,
            unreadable: None,
        }
    }

    /// The event's name.
    pub fn id(&self) -> EventId {
        self.context.id
    }
    /// When it happened; see [`Event::time_source`].
    pub fn time(&self) -> Timestamp {
        self.time
    }
    /// Where the time comes from.
    pub fn time_source(&self) -> TimeSource {
        self.time_source
    }
    /// A label for routing; informational unless the catalogue says more.
    pub fn severity(&self) -> Severity {
        self.known.map_or(Severity::Informational, |known| known.severity)
    }
    /// `power_automate`, `power_apps`, `dataverse`, `power_platform_admin`, `connectors`, `power_pages`,
    /// `copilot_studio`, `copilot_admin`, `auditferry`, or `other`.
    pub fn product(&self) -> &'static str {
        self.product
    }
    /// The operation by its catalogue name, or as on the wire when the catalogue does not know it.
    pub fn operation(&self) -> &str {
        &self.operation
    }
    /// The tenant, as configured.
    pub fn tenant(&self) -> &'a str {
        self.context.tenant
    }
    /// Environment id, bare, when the record names one.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }
    /// Success, failure or unknown.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
    /// `RecordType`.
    pub fn record_type(&self) -> Option<i64> {
        self.record_type
    }
    /// For a person: the catalogue's label, or the operation where the catalogue has none.
    pub fn title(&self) -> &str {
        self.known.map_or(&self.operation, |known| known.display_name)
    }
    /// The record's own words about what came of it; of an unreadable one, why.
    pub fn detail(&self) -> Option<&str> {
        self.unreadable_because().or(self.result.as_deref())
    }
    /// The record's own word on its tenant; the configured one when it has none (`map` may have neither).
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref().or(Some(self.context.tenant)).filter(|tenant| !tenant.is_empty())
    }
    /// The host of the Dataverse instance.
    pub fn instance_host(&self) -> Option<&str> {
        let url = self.instance.as_deref()?;
        let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?;
        (!host.is_empty()).then_some(host)
    }
    /// The environment's display name. The bag's key holds an id in some records; that is none.
    pub(crate) fn environment_name(&self) -> Option<Cow<'a, str>> {
        let id = |text: &str| is_guid(text) || Some(text) == self.environment();
        self.bag.resource("environment.name").filter(|name| !id(name))
    }
    /// What a flow is made of, as the record lists it: connectors, or only types of triggers and actions.
    pub(crate) fn flow_connectors(&self) -> Option<Cow<'a, str>> {
        self.fields.text("FlowConnectorNames")
    }
    /// The record, byte for byte.
    pub fn record(&self) -> &'a [u8] {
        self.record
    }
    /// Why the record could not be looked into, when it could not.
    pub fn unreadable_because(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }
    /// True when the catalogue knows the operation.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }
}
