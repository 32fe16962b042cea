//! The configurations in a document of `az iot hub state export`, in addition to the devices.

use cli_support::wrong_form::JsonMistake;
use std::collections::BTreeMap;

use hub_types::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{Configuration, ConfigurationSpec, Configurations, MAX_CONFIGURATIONS, check_configuration};
use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::ContentKind;

/// The `configurations` of the document.
pub(crate) struct ExportedConfigurations<'a>(pub(crate) &'a Configurations);

impl Serialize for ExportedConfigurations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (edge, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.0.0.iter().partition(|(_, configuration)| configuration.kind() == ContentKind::Edge);
        let mut document = serializer.serialize_struct("configurations", 2)?;
        document.serialize_field("admConfigurations", &other)?;
        document.serialize_field("edgeDeployments", &edge)?;
        document.end()
    }
}

/// The same member for reading; a document without it has no configurations.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigurationsFile {
    adm_configurations: BTreeMap<String, Value>,
    edge_deployments: BTreeMap<String, Value>,
}

impl Configurations {
    /// Returns the configurations after an import: those of the document replace those with the
    /// same id or, with `replace`, all.
    pub(crate) fn with_imported(
        &self,
        file: ConfigurationsFile,
        replace: bool,
        now: Timestamp,
    ) -> ApiResult<Self> {
        let mut next = if replace { BTreeMap::new() } else { self.0.clone() };
        for (id, document) in file.adm_configurations.into_iter().chain(file.edge_deployments) {
            let configuration = imported(&id, document, now)
                .map_err(|error| ApiError { text: format!("configuration {id}: {}", error.text), ..error })?;
            next.insert(id, configuration);
        }
        if next.len() > MAX_CONFIGURATIONS {
            let text = format!("a hub has at most {MAX_CONFIGURATIONS} configurations, not {}", next.len());
            return Err(ApiError::argument(text));
        }
        Ok(Self(next))
    }
}

fn imported(id: &str, document: Value, now: Timestamp) -> ApiResult<Configuration> {
    let spec = ConfigurationSpec::deserialize(document)
        .map_err(|error| ApiError::argument(JsonMistake::new(&error).to_string()))?;
    check_configuration(id, &spec)?;
    Ok(Configuration::new(id, spec, now))
}
