//! `[[sink]]`: where events go. What belongs to the agent is read here; the rest of the table is the sink kind's.

use std::{fmt, sync::Arc, time::Duration};

use auditferry_contract::{
    CheckedSink, Format, Limits, Options, SinkKind,
    options::{self, ByteSize, TimeSpan, mistake},
    toml_span::Spanned,
};

use super::{
    predicates::{Filter, PRODUCTS},
    read::{self, printable},
    sample,
    source::{LONGEST_START, or_default},
    suggest,
};

/// How an event is written for a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecName {
    /// OCSF 1.8.0, one JSON object.
    Ocsf,
    /// ArcSight's Common Event Format, one line of text.
    Cef,
    /// The record as Microsoft sent it.
    Raw,
}

impl CodecName {
    /// Every codec of this version.
    pub const NAMES: [(&str, CodecName); 3] =
        [("ocsf", CodecName::Ocsf), ("cef", CodecName::Cef), ("raw", CodecName::Raw)];

    /// What a sink is told about the bytes.
    pub fn format(self) -> Format {
        match self {
            CodecName::Ocsf => {
                Format { codec: "ocsf", schema: Arc::from("ocsf/1.8.0"), media_type: "application/json" }
            }
            CodecName::Cef => {
                Format { codec: "cef", schema: Arc::from("cef/0"), media_type: "text/plain; charset=utf-8" }
            }
            CodecName::Raw => {
                Format { codec: "raw", schema: Arc::from("office365-management/1.0"), media_type: "application/json" }
            }
        }
    }
}

/// `batch = { … }`: instead of what the sink kind has as its default.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BatchOverrides {
    /// Most messages.
    pub messages: Option<usize>,
    /// Most bytes.
    pub bytes: Option<usize>,
    /// Longest wait for more messages.
    pub age: Option<Duration>,
}

/// `[[sink]]`.
pub struct SinkConfig {
    /// Unique among sinks, and what the ledger owes to: a renamed sink is a new one.
    pub name: String,
    /// The kind's name.
    pub kind: &'static str,
    /// How events are written.
    pub codec: CodecName,
    /// Codec `ocsf`: whether the original record is in the event as well.
    pub raw_data: bool,
    /// How far back a new sink is owed, at most 7 days; `None`: from its first start.
    pub start: Option<Duration>,
    /// Names of the sources it gets events of; `None`: all.
    pub sources: Option<Vec<String>>,
    /// Which events it gets.
    pub filter: Filter,
    /// Batches instead of the kind's default.
    pub batch: BatchOverrides,
    /// The kind's own part, ready to be opened.
    pub checked: Box<dyn CheckedSink>,
}

impl fmt::Debug for SinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkConfig").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A sink, and where in the file its parts are.
pub(super) struct ReadSink {
    pub config: SinkConfig,
    pub name: Spanned<()>,
    pub sources: Vec<Spanned<String>>,
}

impl SinkConfig {
    /// The keys of the table that every kind has, for did-you-mean and for the tests that hold the documentation to them.
    pub const KEYS: [&str; 8] = ["name", "kind", "codec", "raw_data", "start", "sources", "filter", "batch"];

    /// Reads the table. The agent's mistakes come back beside the result, the kind's own among them.
    pub(super) fn read(
        mut table: Options<'_>,
        registry: &[SinkKind],
    ) -> (Option<ReadSink>, Vec<auditferry_contract::toml_span::Error>) {
        let name = read::name(&mut table);
        let kind = kind(&mut table, registry);
        let codec = or_default(&mut table, "codec", CodecName::Ocsf, |t| read::choice(t, "codec", &CodecName::NAMES));
        let raw_data = raw_data(&mut table, codec);
        let start = or_default(&mut table, "start", None, |t| {
            options::duration(t, "start", Duration::ZERO..=LONGEST_START).map(Some)
        });
        let sources = or_default(&mut table, "sources", None, |t| {
            read::list::<String>(t, "sources", "leave it out to take all sources").map(Some)
        });
        let filter = filter(&mut table);
        let batch = batch(&mut table);
        let mut errors = std::mem::take(&mut table.errors);
        let Some(kind) = kind else {
            // the rest of the table can't be judged
            return (None, errors);
        };
        let format = codec.unwrap_or(CodecName::Ocsf).format();
        let checked = match (kind.check)(table, &format) {
            Ok(checked) => Some(checked),
            Err(more) => {
                errors.extend(more.errors.into_iter().map(|error| sample::with_example(error, kind.sample)));
                None
            }
        };
        if let (Some(batch), Some(checked)) = (&batch, &checked) {
            errors.extend(batch.above(kind.name, &checked.limits()));
        }
        let read = || {
            let (name, sources) = (name?, sources?);
            Some(ReadSink {
                name: Spanned::with_span((), name.span),
                config: SinkConfig {
                    name: name.value,
                    kind: kind.name,
                    codec: codec?,
                    raw_data: raw_data?,
                    start: start?,
                    sources: sources.as_ref().map(|s| s.iter().map(|s| s.value.clone()).collect()),
                    filter: filter?,
                    batch: batch?.overrides(),
                    checked: checked?,
                },
                sources: sources.unwrap_or_default(),
            })
        };
        (read(), errors)
    }

    /// What the sink can take, with this configuration's `batch`.
    pub fn limits(&self) -> Limits {
        let mut limits = self.checked.limits();
        limits.batch_messages = self.batch.messages.unwrap_or(limits.batch_messages).max(1);
        limits.batch_bytes = self.batch.bytes.unwrap_or(limits.batch_bytes);
        limits.batch_age = self.batch.age.unwrap_or(limits.batch_age);
        limits
    }

    /// Effective settings, as `check` prints them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let limits = self.limits();
        let any = |list: &[String]| if list.is_empty() { "any".to_string() } else { list.join(", ") };
        let types: Vec<_> = self.filter.record_type.iter().map(i64::to_string).collect();
        let mut settings = vec![("kind", self.kind.to_string()), ("codec", self.codec.format().codec.to_string())];
        if self.codec == CodecName::Ocsf {
            settings.push(("raw_data", self.raw_data.to_string()));
        }
        settings.extend([
            ("start", self.start.map_or("its first start".to_string(), |s| TimeSpan(s).to_string())),
            ("sources", self.sources.as_ref().map_or("all".to_string(), |s| s.join(", "))),
            ("filter.product", any(&self.filter.product)),
            ("filter.operation", any(&self.filter.operation)),
            ("filter.record_type", any(&types)),
            ("batch.messages", limits.batch_messages.to_string()),
            ("batch.bytes", ByteSize(limits.batch_bytes as u64).to_string()),
            ("batch.age", TimeSpan(limits.batch_age).to_string()),
        ]);
        settings.extend(self.checked.settings());
        settings
    }
}

/// A kind of this build. A build can lack some, so an unknown word is not simply called wrong.
fn kind<'r>(table: &mut Options<'_>, registry: &'r [SinkKind]) -> Option<&'r SinkKind> {
    let value = options::required_text(table, "kind")?;
    let found = registry.iter().find(|kind| kind.name == value.value);
    if found.is_none() {
        let kinds: Vec<_> = registry.iter().map(|kind| kind.name).collect();
        let hint = match suggest::nearest(&value.value, kinds.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("this build has: {}; another build may have more", kinds.join(", ")),
        };
        let what = format!("no sink of kind `{}` in this build", printable(&value.value));
        table.errors.push(mistake(value.span, &what, &hint));
    }
    found
}

fn raw_data(table: &mut Options<'_>, codec: Option<CodecName>) -> Option<bool> {
    let given = table.contains("raw_data");
    let value = table.optional_s::<bool>("raw_data");
    let hint = match codec {
        Some(CodecName::Raw) => Some("it is the record as Microsoft sent it: leave the key out"),
        Some(CodecName::Cef) => Some(
            "CEF has no field for a whole record: leave the key out, or use `ocsf` or `raw` where all of it must arrive",
        ),
        Some(CodecName::Ocsf) | None => None,
    };
    match (&value, codec.zip(hint)) {
        (Some(value), Some((codec, hint))) => {
            let what = format!("codec `{}` has no `raw_data`", codec.format().codec);
            table.errors.push(mistake(value.span, &what, hint));
            None
        }
        (Some(value), _) => Some(value.value),
        (None, _) => (!given).then_some(true),
    }
}

fn filter(table: &mut Options<'_>) -> Option<Filter> {
    if !table.contains("filter") {
        let _ = table.take("filter");
        return Some(Filter::default());
    }
    let mut inner = read::table(table, "filter")?;
    let empty = "leave it out to take every one";
    let product = or_default(&mut inner, "product", Vec::new(), |t| read::list::<String>(t, "product", empty));
    let operation = or_default(&mut inner, "operation", Vec::new(), |t| read::list::<String>(t, "operation", empty));
    let record_type = or_default(&mut inner, "record_type", Vec::new(), |t| read::list::<i64>(t, "record_type", empty));
    for unknown in product.iter().flatten().filter(|p| !PRODUCTS.contains(&p.value.as_str())) {
        let what = format!("no product `{}`", printable(&unknown.value));
        inner.errors.push(mistake(unknown.span, &what, &suggest::hint(&unknown.value, &PRODUCTS)));
    }
    if let Err(errors) = inner.finalize(None) {
        table.errors.extend(errors.errors);
        return None;
    }
    Some(Filter { product: values(product?), operation: values(operation?), record_type: values(record_type?) })
}

fn values<T>(list: Vec<Spanned<T>>) -> Vec<T> {
    list.into_iter().map(|item| item.value).collect()
}

/// `batch`, and where in the file its parts are.
#[derive(Default)]
struct ReadBatch {
    messages: Option<Spanned<u64>>,
    bytes: Option<Spanned<u64>>,
    age: Option<Duration>,
}

impl ReadBatch {
    fn overrides(&self) -> BatchOverrides {
        let number = |given: &Option<Spanned<u64>>| given.as_ref().map(|n| n.value as usize);
        BatchOverrides { messages: number(&self.messages), bytes: number(&self.bytes), age: self.age }
    }

    /// What is more than the sink takes in one call. A client library's queues have room for what the sink's own limits allow and no
    /// more, so that a larger batch would never go through.
    fn above(&self, kind: &str, limits: &Limits) -> Vec<auditferry_contract::toml_span::Error> {
        let (messages, bytes) = (limits.batch_messages as u64, limits.batch_bytes as u64);
        let mut errors = Vec::new();
        let mut compare = |name: &str, given: &Option<Spanned<u64>>, most: u64, shown: &dyn Fn(u64) -> String| {
            if let Some(given) = given.as_ref().filter(|given| given.value > most) {
                let what = format!("`{name}` is above what a sink of kind `{kind}` takes: {}", shown(given.value));
                let hint = format!("at most {}, which is what applies when the key is left out", shown(most));
                errors.push(mistake(given.span, &what, &hint));
            }
        };
        compare("messages", &self.messages, messages, &|n| n.to_string());
        compare("bytes", &self.bytes, bytes, &|n| ByteSize(n).to_string());
        errors
    }
}

fn batch(table: &mut Options<'_>) -> Option<ReadBatch> {
    if !table.contains("batch") {
        let _ = table.take("batch");
        return Some(ReadBatch::default());
    }
    let mut inner = read::table(table, "batch")?;
    let place = |inner: &Options<'_>, name| inner.table.get(name).map(|value| value.span).unwrap_or_default();
    let (of_messages, of_bytes) = (place(&inner, "messages"), place(&inner, "bytes"));
    let messages = options::number(&mut inner, "messages", 1..=100_000);
    let bytes = options::size(&mut inner, "bytes", 1 << 10..=64 << 20);
    let age = options::duration(&mut inner, "age", Duration::ZERO..=Duration::from_secs(60));
    if let Err(errors) = inner.finalize(None) {
        table.errors.extend(errors.errors);
        return None;
    }
    let placed = |value: Option<u64>, span| value.map(|value| Spanned::with_span(value, span));
    Some(ReadBatch { messages: placed(messages, of_messages), bytes: placed(bytes, of_bytes), age })
}
