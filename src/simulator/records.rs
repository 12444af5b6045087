//! The records of a content, made at request time from the numbers alone; nothing is stored.

use super::{
    draft::{Draft, Hand, Value},
    families::{FOREIGN, Family, POWER_PLATFORM, foreign},
    faults::Odd,
    random::Dice,
    schedule::{Content, Slot, Stream},
};

/// What must become of a record in an agent that selects Power Platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Owed to every sink.
    Selected,
    /// Not selected.
    Unselected,
    /// Not JSON, or makes mapping panic: owed to every sink as unreadable.
    Unreadable,
}

/// What is known of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTruth {
    /// Unique text that stands in the record's bytes. Equals `id` unless that is missing or shared.
    pub mark: String,
    /// `Id`, when the record has a readable one.
    pub id: Option<String>,
    /// `Operation`; empty when not readable.
    pub operation: String,
    /// `RecordType`; 0 when not readable.
    pub record_type: i64,
    /// What must become of it.
    pub fate: Fate,
    /// A further appearance of a record that another content, or an earlier place of this one, has. Where `id` is `None`
    /// the agent can't know that, and may deliver it again.
    pub copy: bool,
}

impl Stream<'_> {
    /// One record: its bytes and what is known of it. `None` when the slot is beyond the schedule.
    pub fn record(&self, slot: Slot) -> Option<(Vec<u8>, RecordTruth)> {
        let (index, number, hand) = match slot {
            Slot::Own { index, number } => (index, number, Hand::First),
            Slot::Copy { index, number } => (index, number, Hand::Repeated),
        };
        let content = self.content(index)?;
        Some(self.write(&content, number, hand))
    }

    pub(super) fn write(&self, content: &Content, number: u32, hand: Hand) -> (Vec<u8>, RecordTruth) {
        let copy = hand == Hand::Repeated;
        let tenant = self.tenant();
        if let Some(file) = &tenant.records {
            let at = content.index * u64::from(tenant.records_per_content) + u64::from(number);
            let bytes = file.get(at as usize).map(|bytes| bytes.to_vec()).unwrap_or_else(|| b"{}".to_vec());
            let truth = from_file(&bytes, copy);
            return (bytes, truth);
        }
        let mut dice = Dice::new(&[self.profile.seed, self.key(), content.index, 0x4EC, u64::from(number)]);
        let (family, selected) = self.family(&mut dice);
        // events happen while their content is gathered, some long before
        let span = (content.created - content.begun).max(1) as u64;
        let late = if dice.one_in(20) { dice.below(6 * 3_600_000) } else { 0 };
        let at = content.begun + dice.below(span) as i64 - late as i64;
        let shared_with = (content.odds.contains(&Odd::SharedId) && number == 1)
            .then(|| self.write(content, 0, Hand::First).1.id)
            .flatten();
        let oddity =
            if tenant.faults.odd_records { Some((dice.below(12), dice.one_in(40), dice.one_in(60))) } else { None };
        let mut draft = Draft::new(self.profile.seed, dice, tenant, at);
        family(&mut draft);
        let mut fate = if selected { Fate::Selected } else { Fate::Unselected };
        if content.odds.contains(&Odd::BrokenRecord) && number == 1 {
            let mark = draft.mark;
            let bytes =
                format!(r#"{{"Id":"{mark}","Operation":"CreateFlow","RecordType":30,"Truth":tru}}"#).into_bytes();
            let truth =
                RecordTruth { mark, id: None, operation: String::new(), record_type: 0, fate: Fate::Unreadable, copy };
            return (bytes, truth);
        }
        if content.odds.contains(&Odd::Panic) && number == 0 {
            draft.replace("Operation", "auditferry-test-panic");
            draft.replace("RecordType", 256i64);
            draft.replace("Workload", "PowerPlatform");
            fate = Fate::Unreadable;
        }
        if let Some(shared) = shared_with {
            let mark = draft.mark.clone();
            draft.replace("Id", shared);
            draft.replace("Operation", "UpdatePowerApp");
            draft.replace("CorrelationId", mark);
        }
        let record_type = draft.number("RecordType").unwrap_or(0);
        if let Some((shape, nameless, timeless)) = oddity {
            if shape == 0 {
                draft.replace("RecordType", record_type.to_string());
            }
            if shape == 1 {
                draft.replace("Version", "1");
            }
            if nameless {
                let mark = draft.mark.clone();
                draft.remove("Id");
                draft.replace("CorrelationId", mark);
            }
            if timeless {
                draft.replace("CreationTime", Value::Text("not-a-time".into()));
            }
        }
        let truth = RecordTruth {
            mark: draft.mark.clone(),
            id: draft.text("Id").map(str::to_owned),
            operation: draft.text("Operation").unwrap_or_default().to_owned(),
            record_type,
            fate,
            copy,
        };
        let mut bytes = Vec::with_capacity(1_024);
        draft.write(hand, &mut bytes);
        (bytes, truth)
    }

    /// A family of this stream, and whether it is of Power Platform.
    fn family(&self, dice: &mut Dice) -> (Family, bool) {
        let of_type = |name: &str| self.content_type.eq_ignore_ascii_case(name);
        if of_type("Audit.Exchange") {
            (foreign::exchange, false)
        } else if of_type("Audit.SharePoint") {
            (foreign::sharepoint, false)
        } else if of_type("Audit.AzureActiveDirectory") {
            (foreign::entra, false)
        } else if dice.below(1_000) < u64::from(self.tenant().power_platform_per_mille) {
            (weighted(&POWER_PLATFORM, dice), true)
        } else {
            (weighted(&FOREIGN, dice), false)
        }
    }
}

fn weighted(families: &[(Family, u64)], dice: &mut Dice) -> Family {
    let mut left = dice.below(families.iter().map(|family| family.1).sum());
    for (family, weight) in families {
        if left < *weight {
            return *family;
        }
        left -= weight;
    }
    families[0].0
}

/// Record types that `power-platform` selects (the project's list), told here once more so that the simulator does not
/// agree with the agent by sharing its table.
const SELECTED_TYPES: [i64; 17] = [21, 30, 45, 46, 79, 80, 149, 150, 163, 186, 187, 239, 256, 375, 376, 384, 437];
const SELECTED_WORKLOADS: [&str; 6] =
    ["CRM", "PowerPlatform", "MicrosoftFlow", "PowerApps", "PowerPlatformAdmin", "Copilot"];

/// What can be said of a record that was given to the simulator.
fn from_file(bytes: &[u8], copy: bool) -> RecordTruth {
    let text = |value: Option<&serde_json::Value>| value.and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    let Ok(serde_json::Value::Object(record)) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return RecordTruth {
            mark: String::from_utf8_lossy(bytes).into_owned(),
            id: None,
            operation: String::new(),
            record_type: 0,
            fate: Fate::Unreadable,
            copy,
        };
    };
    let record_type = match record.get("RecordType") {
        Some(serde_json::Value::String(text)) => text.parse().unwrap_or(0),
        other => other.and_then(|it| it.as_i64()).unwrap_or(0),
    };
    let workload = text(record.get("Workload"));
    let selected = SELECTED_TYPES.contains(&record_type) || SELECTED_WORKLOADS.contains(&workload.as_str());
    let id = record.get("Id").and_then(|it| it.as_str()).map(str::to_owned);
    RecordTruth {
        mark: id.clone().unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()),
        id,
        operation: text(record.get("Operation")),
        record_type,
        fate: if selected { Fate::Selected } else { Fate::Unselected },
        copy,
    }
}

/// Splits a file of records, JSON lines or arrays, into records; the error names the first line that is neither.
pub fn read_file(text: &str) -> Result<Vec<bytes::Bytes>, String> {
    let mut records = Vec::new();
    let mut take = |raw: &serde_json::value::RawValue| {
        if raw.get().trim_start().starts_with('[') {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw.get())?;
            records.extend(items.iter().map(|item| bytes::Bytes::copy_from_slice(item.get().as_bytes())));
        } else {
            records.push(bytes::Bytes::copy_from_slice(raw.get().as_bytes()));
        }
        Ok::<(), serde_json::Error>(())
    };
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Box<serde_json::value::RawValue>>();
    while let Some(raw) = stream.next() {
        let line = 1 + text[..stream.byte_offset().min(text.len())].matches('\n').count();
        let done = raw.and_then(|raw| take(&raw));
        done.map_err(|error| format!("line {line}: neither a record nor an array of records: {error}"))?;
    }
    Ok(records)
}
