//! Records of each family, with the fields and quirks of published ones. Facts: captures by MonitoringPowerPlatform
//! (2020), Microsoft's schema pages, and a Power Apps launch published in 2026; all names and ids are made up.

pub mod admin;
pub mod dataverse;
pub mod foreign;
pub mod power_apps;
pub mod power_automate;

use super::draft::Draft;

/// A family: writes one record. What `power-platform` selects is known from the family.
pub type Family = fn(&mut Draft<'_>);

/// Power Platform, with how often each comes up in 100.
pub const POWER_PLATFORM: [(Family, u64); 12] = [
    (power_automate::flow, 26),
    (power_apps::legacy, 14),
    (power_apps::current, 20),
    (admin::governance, 5),
    (admin::environment, 5),
    (admin::bot, 6),
    (admin::lockbox_and_isolation, 2),
    (admin::pages, 3),
    (admin::legacy_policy, 3),
    (admin::connector, 3),
    (dataverse::crm, 11),
    (foreign::copilot, 2),
];

/// Everything else that arrives in `Audit.General`.
pub const FOREIGN: [(Family, u64); 5] = [
    (foreign::exchange, 25),
    (foreign::sharepoint, 25),
    (foreign::entra, 20),
    (foreign::teams, 20),
    (foreign::unknown, 10),
];
