//! Which records are fetched (`select`) and which events a sink gets (`filter`): plain data and pure questions.

/// Record types that `select = "power-platform"` takes: Dataverse, Power Apps, Power Automate, Power Pages, Copilot Studio,
/// and the platform's administration (learn.microsoft.com, "AuditLogRecordType").
pub const POWER_PLATFORM_TYPES: [i64; 17] =
    [21, 30, 45, 46, 79, 80, 149, 150, 163, 186, 187, 239, 256, 375, 376, 384, 437];

/// Products that events can have, as the catalogue names them.
pub const PRODUCTS: [&str; 11] = [
    "power_apps",
    "power_automate",
    "dataverse",
    "power_pages",
    "copilot_studio",
    "copilot_admin",
    "connectors",
    "dlp",
    "environment",
    "licensing",
    "admin",
];

/// What a source keeps of what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Select {
    /// Records of the Power Platform.
    PowerPlatform,
    /// Everything.
    All,
}

impl Select {
    /// The configuration's names.
    pub const NAMES: [(&str, Select); 2] = [("power-platform", Select::PowerPlatform), ("all", Select::All)];

    /// The configuration's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, s)| *s == self).map_or("", |(name, _)| name)
    }

    /// True when the record is kept. `core_workload`: the catalogue gives the record's workload to a `core` operation.
    pub fn matches(self, record_type: Option<i64>, core_workload: bool) -> bool {
        match self {
            Select::All => true,
            Select::PowerPlatform => core_workload || record_type.is_some_and(|t| POWER_PLATFORM_TYPES.contains(&t)),
        }
    }
}

/// Which events a sink gets. Every list that is given must hold the event's value; none given: all of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// Products, as in [`PRODUCTS`].
    pub product: Vec<String>,
    /// Operations as Microsoft sends them, capitals ignored.
    pub operation: Vec<String>,
    /// Record types.
    pub record_type: Vec<i64>,
}

impl Filter {
    /// True when the sink gets the event. An event without record type passes only a filter that doesn't ask for one.
    pub fn matches(&self, product: &str, operation: &str, record_type: Option<i64>) -> bool {
        (self.product.is_empty() || self.product.iter().any(|p| p == product))
            && (self.operation.is_empty() || self.operation.iter().any(|o| o.eq_ignore_ascii_case(operation)))
            && (self.record_type.is_empty() || record_type.is_some_and(|t| self.record_type.contains(&t)))
    }

    /// True when nothing is filtered.
    pub fn is_all(&self) -> bool {
        *self == Filter::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_takes_the_listed_types_and_core_workloads() {
        assert!(Select::PowerPlatform.matches(Some(30), false));
        assert!(Select::PowerPlatform.matches(Some(15), true));
        assert!(Select::PowerPlatform.matches(None, true));
        assert!(!Select::PowerPlatform.matches(Some(15), false));
        assert!(!Select::PowerPlatform.matches(None, false));
        assert!(Select::All.matches(None, false));
    }

    #[test]
    fn every_list_of_a_filter_must_hold_the_event() {
        let filter = Filter {
            product: vec!["power_apps".into()],
            operation: vec!["DeletePowerApp".into()],
            record_type: vec![],
        };
        assert!(filter.matches("power_apps", "deletepowerapp", None));
        assert!(!filter.matches("power_automate", "DeletePowerApp", None));
        assert!(!filter.matches("power_apps", "CreatePowerApp", None));
        let filter = Filter { record_type: vec![45], ..Filter::default() };
        assert!(
            filter.matches("x", "y", Some(45))
                && !filter.matches("x", "y", Some(46))
                && !filter.matches("x", "y", None)
        );
        assert!(Filter::default().matches("x", "y", None) && Filter::default().is_all());
    }
}
