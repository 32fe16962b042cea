//! Settings of enrolments and enrolment groups that no row of a batch has.

use std::path::PathBuf;

use hub_types::dps::EnrollmentGroupId;
use hub_types::dps::enrollment::{
    AllocationPolicy, CustomAllocationDefinition, EnrollmentSettings, ReprovisionPolicy,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compare::{Difference, DifferencePath};

/// The effect of one more registration of a device. Source: "IoT Hub Device reprovisioning concepts".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reprovision {
    /// The hub is chosen again, and the twin is taken along.
    Migrate,
    /// The device stays on its hub.
    Never,
    /// The hub is chosen again, and the device starts with the initial twin.
    Reset,
}

impl Reprovision {
    fn policy(self) -> ReprovisionPolicy {
        let (update_hub_assignment, migrate_device_data) = match self {
            Self::Migrate => (true, true),
            Self::Never => (false, false),
            Self::Reset => (true, false),
        };
        ReprovisionPolicy { update_hub_assignment, migrate_device_data }
    }
}

/// The choice of settings for the enrolments or the group of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EntryOptions {
    /// The effect of one more registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reprovision: Option<Reprovision>,
    /// The choice of the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocation: Option<AllocationPolicy>,
    /// The hubs to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) iot_hubs: Vec<String>,
    /// The file with the address of the function of a custom allocation, which may hold a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_file: Option<PathBuf>,
    /// The group, if the batch gets one and its devices get no enrolments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<GroupOptions>,
}

impl EntryOptions {
    /// Returns true if nothing was chosen.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The choice of an enrolment group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupOptions {
    /// The id of the group.
    pub(crate) id: EnrollmentGroupId,
    /// The file with the certificate of its CA.
    pub(crate) certificate: PathBuf,
}

/// The settings for entries. What is not chosen stays as it is found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EntrySettings {
    options: EntryOptions,
    /// The function of a custom allocation.
    function: Option<CustomAllocationDefinition>,
}

impl EntrySettings {
    /// The settings of a choice; `webhook` is the content of its file.
    pub(crate) fn new(options: EntryOptions, webhook: Option<String>) -> Self {
        let function = webhook.map(|webhook_url| CustomAllocationDefinition {
            webhook_url,
            api_version: WEBHOOK_API_VERSION.to_owned(),
        });
        Self { options, function }
    }

    /// Puts the settings into an entry.
    pub(crate) fn apply(&self, entry: &mut EnrollmentSettings) {
        if let Some(reprovision) = self.options.reprovision {
            entry.reprovision_policy = Some(reprovision.policy());
        }
        if let Some(allocation) = self.options.allocation {
            entry.allocation_policy = Some(allocation);
            if allocation != AllocationPolicy::Custom {
                entry.custom_allocation_definition = None;
            }
        }
        if !self.options.iot_hubs.is_empty() {
            entry.iot_hubs = Some(self.options.iot_hubs.clone());
        }
        if let Some(function) = &self.function {
            entry.custom_allocation_definition = Some(Box::new(function.clone()));
        }
    }

    /// The differences between an entry and the settings. The address of a function, which may hold a key, is
    /// not shown.
    pub(crate) fn differences(&self, entry: &EnrollmentSettings) -> Vec<Difference> {
        let mut chosen = entry.clone();
        self.apply(&mut chosen);
        let mut differences = Vec::new();
        let mut compare = |path, expected: Value, found: Value| {
            if expected != found {
                differences.push(Difference { path, expected, found });
            }
        };
        let policy = |entry: &EnrollmentSettings| json!(entry.reprovision_policy.unwrap_or_default());
        compare(DifferencePath::Reprovision, policy(&chosen), policy(entry));
        let allocation =
            |entry: &EnrollmentSettings| json!(entry.allocation_policy.unwrap_or(AllocationPolicy::Hashed));
        compare(DifferencePath::Allocation, allocation(&chosen), allocation(entry));
        compare(DifferencePath::IotHubs, json!(chosen.iot_hubs), json!(entry.iot_hubs));
        if chosen.custom_allocation_definition != entry.custom_allocation_definition {
            let found = if entry.custom_allocation_definition.is_some() { "a different one" } else { "none" };
            differences.push(Difference {
                path: DifferencePath::Webhook,
                expected: json!("the one of the file"),
                found: json!(found),
            });
        }
        differences
    }
}

/// The version of the request to a function of a custom allocation.
const WEBHOOK_API_VERSION: &str = "2021-10-01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_chosen_stays_and_is_no_difference() {
        let mut entry =
            EnrollmentSettings { iot_hubs: Some(vec!["a".to_owned()]), ..EnrollmentSettings::default() };
        assert!(EntrySettings::default().differences(&entry).is_empty());
        let options = EntryOptions { reprovision: Some(Reprovision::Never), ..EntryOptions::default() };
        let settings = EntrySettings::new(options, None);
        assert_eq!(settings.differences(&entry).len(), 1);
        settings.apply(&mut entry);
        assert!(settings.differences(&entry).is_empty());
        assert_eq!(entry.iot_hubs, Some(vec!["a".to_owned()]));
    }

    #[test]
    fn the_address_of_a_function_is_not_shown() {
        let options = EntryOptions { allocation: Some(AllocationPolicy::Custom), ..EntryOptions::default() };
        let settings = EntrySettings::new(options, Some("https://f.example/?code=hunter2".to_owned()));
        let mut entry = EnrollmentSettings::default();
        let told = format!("{:?}", settings.differences(&entry));
        assert!(told.contains("Webhook") && !told.contains("hunter2"), "{told}");
        settings.apply(&mut entry);
        assert!(settings.differences(&entry).is_empty());
    }
}
