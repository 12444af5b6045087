//! The clouds of Microsoft 365 and the hosts that belong together in each.

/// A cloud: one word that sets API host, sign-in host and audience together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cloud {
    /// Worldwide.
    Commercial,
    /// Government community cloud (moderate).
    Gcc,
    /// Government community cloud, high.
    GccHigh,
    /// Department of Defense.
    Dod,
    /// 21Vianet. Its hosts are not in Microsoft's reference of this API, only in other clients: unverified.
    China,
}

impl Cloud {
    /// Every cloud, by the name that the configuration has for it.
    pub const NAMES: [(&str, Cloud); 5] = [
        ("commercial", Cloud::Commercial),
        ("gcc", Cloud::Gcc),
        ("gcc-high", Cloud::GccHigh),
        ("dod", Cloud::Dod),
        ("china", Cloud::China),
    ];

    /// The configuration's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, c)| *c == self).map_or("", |(name, _)| name)
    }

    /// Origin of the Management Activity API
    /// (learn.microsoft.com, "Office 365 Management Activity API reference"; China: from other clients).
    pub fn api(self) -> &'static str {
        match self {
            Cloud::Commercial => "https://manage.office.com",
            Cloud::Gcc => "https://manage-gcc.office.com",
            Cloud::GccHigh => "https://manage.office365.us",
            Cloud::Dod => "https://manage.protection.apps.mil",
            Cloud::China => "https://manage.office365.cn",
        }
    }

    /// Origin of the sign-in service (learn.microsoft.com, "National clouds").
    pub fn authority(self) -> &'static str {
        match self {
            Cloud::Commercial | Cloud::Gcc => "https://login.microsoftonline.com",
            Cloud::GccHigh | Cloud::Dod => "https://login.microsoftonline.us",
            Cloud::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// The cloud of a tenant of which the sign-in service says this (`cloud_instance_name` and `tenant_region_sub_scope` of its OpenID
    /// metadata). Microsoft documents neither member; other tools rely on both.
    pub fn of_tenant(instance: &str, sub_scope: &str) -> Option<Cloud> {
        match (instance, sub_scope) {
            ("microsoftonline.com", "GCC") => Some(Cloud::Gcc),
            ("microsoftonline.com", _) => Some(Cloud::Commercial),
            ("microsoftonline.us", "DOD") => Some(Cloud::Dod),
            ("microsoftonline.us", _) => Some(Cloud::GccHigh),
            ("partner.microsoftonline.cn", _) => Some(Cloud::China),
            _ => None,
        }
    }

    /// The token's audience: the API host of the same cloud.
    pub fn audience(self) -> &'static str {
        self.api()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cloud_of_a_tenant() {
        for (instance, scope, cloud) in [
            ("microsoftonline.com", "", Some("commercial")),
            ("microsoftonline.com", "GCC", Some("gcc")),
            ("microsoftonline.us", "DODCON", Some("gcc-high")),
            ("microsoftonline.us", "DOD", Some("dod")),
            ("partner.microsoftonline.cn", "", Some("china")),
            ("login.example", "", None),
            ("", "", None),
        ] {
            assert_eq!(Cloud::of_tenant(instance, scope).map(Cloud::name), cloud, "{instance} {scope}");
        }
    }

    #[test]
    fn every_host_is_pinned() {
        let hosts: Vec<_> =
            Cloud::NAMES.iter().map(|(name, c)| (*name, c.api(), c.authority(), c.audience())).collect();
        assert_eq!(
            hosts,
            [
                (
                    "commercial",
                    "https://manage.office.com",
                    "https://login.microsoftonline.com",
                    "https://manage.office.com"
                ),
                (
                    "gcc",
                    "https://manage-gcc.office.com",
                    "https://login.microsoftonline.com",
                    "https://manage-gcc.office.com"
                ),
                (
                    "gcc-high",
                    "https://manage.office365.us",
                    "https://login.microsoftonline.us",
                    "https://manage.office365.us"
                ),
                (
                    "dod",
                    "https://manage.protection.apps.mil",
                    "https://login.microsoftonline.us",
                    "https://manage.protection.apps.mil"
                ),
                (
                    "china",
                    "https://manage.office365.cn",
                    "https://login.partner.microsoftonline.cn",
                    "https://manage.office365.cn"
                ),
            ]
        );
    }
}
