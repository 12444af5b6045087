//! What operations there are and how each maps: data, in `catalogue.tsv`, one line an operation.
//!
//! The data is made from Microsoft's documentation (CC BY 4.0, see NOTICE) and from published records. Columns: key,
//! wire name (empty when only a label is public), label, aliases, unverified aliases, product, workload, record type,
//! older workload, older record type, where the name sits (`o` Operation, `m` Message, `p` property bag), scope,
//! category, target, OCSF class, activity id, activity caption, severity id. Lists are separated by semicolons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use auditferry_contract::Severity;

/// One operation of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Unique name of the entry.
    pub key: &'static str,
    /// Name on the wire; none when Microsoft has published only the label.
    pub operation: Option<&'static str>,
    /// Label for a person.
    pub display_name: &'static str,
    /// Other names with a source.
    pub aliases: Vec<&'static str>,
    /// Guesses met in public code: for what a user types, never expected on the wire.
    pub aliases_unverified: Vec<&'static str>,
    /// Product as the catalogue groups it.
    pub product: &'static str,
    /// `Workload` of its records, where known.
    pub workload: Option<&'static str>,
    /// `RecordType` of its records, where known.
    pub record_type: Option<i64>,
    /// `Workload` of the older form.
    pub legacy_workload: Option<&'static str>,
    /// `RecordType` of the older form.
    pub legacy_record_type: Option<i64>,
    /// Where the name sits.
    pub found_in: FoundIn,
    /// `core` (Power Platform) or `adjacent` (Microsoft 365 Copilot, agents).
    pub scope: &'static str,
    /// Kind of change, the catalogue's word.
    pub category: &'static str,
    /// Kind of thing acted on.
    pub target_kind: &'static str,
    /// OCSF 1.8.0 class.
    pub class_uid: u16,
    /// OCSF activity within the class.
    pub activity_id: u8,
    /// Caption of the activity; with id 99 the operation's own name.
    pub activity_name: &'static str,
    /// A label for routing, not a verdict.
    pub severity: Severity,
}

/// Where a record carries the name of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundIn {
    /// The member `Operation`.
    Operation,
    /// The member `Message` of a Dataverse record.
    Message,
    /// A key of the property bag (data policies).
    Bag,
}

fn parse(line: &'static str) -> Option<Operation> {
    let some = |text: &'static str| (!text.is_empty()).then_some(text);
    let list = |text: &'static str| text.split(';').filter(|name| !name.is_empty()).collect();
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    Some(Operation {
        key: next()?,
        operation: some(next()?),
        display_name: next()?,
        aliases: list(next()?),
        aliases_unverified: list(next()?),
        product: next()?,
        workload: some(next()?),
        record_type: next()?.parse().ok(),
        legacy_workload: some(next()?),
        legacy_record_type: next()?.parse().ok(),
        found_in: match next()? {
            "o" => FoundIn::Operation,
            "m" => FoundIn::Message,
            "p" => FoundIn::Bag,
            _ => return None,
        },
        scope: next()?,
        category: next()?,
        target_kind: next()?,
        class_uid: next()?.parse().ok()?,
        activity_id: next()?.parse().ok()?,
        activity_name: next()?,
        severity: match next()? {
            "1" => Severity::Informational,
            "2" => Severity::Low,
            "3" => Severity::Medium,
            "4" => Severity::High,
            "5" => Severity::Critical,
            _ => return None,
        },
    })
}

static OPERATIONS: LazyLock<Vec<Operation>> =
    LazyLock::new(|| include_str!("catalogue.tsv").lines().filter_map(parse).collect());

/// Position by exact wire name; Dataverse messages (too general to be global) apart.
struct Index {
    exact: BTreeMap<&'static str, usize>,
    folded: BTreeMap<String, usize>,
    messages: BTreeMap<String, usize>,
    workloads: BTreeSet<&'static str>,
    record_types: BTreeSet<i64>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index {
        exact: BTreeMap::new(),
        folded: BTreeMap::new(),
        messages: BTreeMap::new(),
        workloads: BTreeSet::new(),
        record_types: BTreeSet::new(),
    };
    for (position, entry) in OPERATIONS.iter().enumerate() {
        let names = entry.operation.into_iter().chain(entry.aliases.iter().copied()).chain(
            // where only the label is public, the label is all a record could be known by
            entry.operation.is_none().then_some(entry.display_name),
        );
        for name in names {
            if entry.found_in == FoundIn::Message {
                index.messages.entry(fold(name)).or_insert(position);
            } else {
                index.folded.entry(fold(name)).or_insert(position);
            }
        }
        if let (Some(name), FoundIn::Operation | FoundIn::Bag) = (entry.operation, entry.found_in) {
            index.exact.entry(name).or_insert(position);
        }
        index.record_types.extend(entry.record_type.into_iter().chain(entry.legacy_record_type));
        if entry.scope == "core" {
            index.workloads.extend(entry.workload.into_iter().chain(entry.legacy_workload));
        }
    }
    index
});

/// The alias rule: lower case, letters and digits only. `Deleted app`, `DeletedApp`, `deleted-app` are one name.
fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Every operation, in the order of the catalogue.
pub fn all() -> &'static [Operation] {
    &OPERATIONS
}

/// The operation that a record means by `name` in `Operation` (or in the bag of a data policy), by wire name or alias.
pub fn resolve(name: &str) -> Option<&'static Operation> {
    let index = &*INDEX;
    let position = index.exact.get(name).or_else(|| index.folded.get(&fold(name)))?;
    OPERATIONS.get(*position)
}

/// The Dataverse operation behind `Message`: only for record type 21 or workload `CRM`.
pub fn resolve_message(message: &str) -> Option<&'static Operation> {
    OPERATIONS.get(*INDEX.messages.get(&fold(message))?)
}

/// Record types that Power Platform uses, with and without published operations.
const RECORD_TYPES: [i64; 17] = [21, 30, 45, 46, 79, 80, 149, 150, 163, 186, 187, 239, 256, 375, 376, 384, 437];

/// Whether `power-platform` selects this record type.
pub fn is_power_platform_record_type(record_type: i64) -> bool {
    RECORD_TYPES.contains(&record_type)
}

/// Whether the catalogue gives this workload to a core operation.
pub fn power_platform_workload(workload: &str) -> bool {
    INDEX.workloads.contains(workload)
}

/// Whether the catalogue has operations of this record type; more than Power Platform's own.
pub fn has_record_type(record_type: i64) -> bool {
    INDEX.record_types.contains(&record_type)
}

/// What `select = "power-platform"` takes: by record type or by workload, whichever says yes.
pub fn selected_by_default(record_type: Option<i64>, workload: Option<&str>) -> bool {
    record_type.is_some_and(is_power_platform_record_type) || workload.is_some_and(power_platform_workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_name_leads_back() {
        assert_eq!(all().len(), include_str!("catalogue.tsv").lines().count());
        assert_eq!(all().len(), 392);
        for entry in all() {
            let found = match (entry.found_in, entry.operation) {
                (FoundIn::Message, Some(name)) => resolve_message(name),
                (FoundIn::Message, None) => resolve_message(entry.display_name),
                (_, Some(name)) => resolve(name),
                (_, None) => resolve(entry.display_name),
            };
            assert_eq!(found, Some(entry), "{}", entry.key);
        }
    }

    #[test]
    fn aliases_resolve_by_the_alias_rule_and_guesses_do_not() {
        for name in ["DeletedApp", "Deleted app", "deleted-app", "DeletePowerApp"] {
            assert_eq!(resolve(name).and_then(|o| o.operation), Some("DeletePowerApp"), "{name}");
        }
        assert_eq!(resolve("RenewAPaidTrial").and_then(|o| o.operation), Some("RenewTrial"));
        for guess in ["SharePowerApp", "CreateApp", "AppLaunched", "Delete", "Create", "NoSuchThing"] {
            assert_eq!(resolve(guess), None, "{guess}");
        }
        assert_eq!(resolve_message("Create").and_then(|o| o.operation), Some("Create"));
    }

    #[test]
    fn selection_follows_record_type_and_workload() {
        assert!(selected_by_default(Some(30), None));
        for workload in ["CRM", "PowerPlatform", "MicrosoftFlow", "PowerApps", "PowerPlatformAdmin"] {
            assert!(selected_by_default(Some(9_999), Some(workload)), "{workload}");
        }
        assert!(!selected_by_default(Some(1), Some("Exchange")));
        assert!(!selected_by_default(None, None));
    }
}
