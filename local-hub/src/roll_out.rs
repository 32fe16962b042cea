//! The application of configurations: their settings are written into the twins that they target,
//! the twins list them, and their metrics are counted.
//!
//! If several configurations target one identity, the one of the highest priority is applied.
//! Settings stay in a twin that is no longer a target. Source: "Automatic device and module
//! management".
//! IoT Edge deployments have different rules, see [`deployments`].

use std::collections::{BTreeMap, BTreeSet};

use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId};

use crate::api_error::{ApiError, ApiResult};
use crate::configurations::{Configuration, metric_query};
use crate::hub::Hub;
use crate::query::{self, Query};
use crate::twin::{RolledOut, WriteOrigin};

mod deployments;

/// Watches a hub, and applies its configurations after every write.
#[derive(Debug, Default)]
pub(crate) struct RollOuts {
    /// The number of writes when the hub was last checked.
    seen: Option<u64>,
    /// True if no configuration has a target and no twin lists one.
    idle: bool,
    /// The twins without room for the settings, so that they are not retried every time.
    refused: BTreeMap<IdentityId, RolledOut>,
    /// The same for IoT Edge deployments.
    refused_deployments: deployments::Refused,
}

impl RollOuts {
    /// Updates twins and metrics, if anything was written since the last time.
    pub(crate) async fn update(&mut self, hub: &Hub) -> ApiResult<()> {
        let writes = hub.writes();
        if self.seen == Some(writes) {
            return Ok(());
        }
        let mut configurations: Vec<Configuration> =
            hub.read_configurations(|configurations| configurations.first(usize::MAX).cloned().collect());
        if !(self.idle && configurations.is_empty()) {
            // The one that is applied comes first.
            configurations.sort_by(|a, b| b.rank().cmp(&a.rank()));
            let deployed = deployments::roll_out(hub, &configurations, &mut self.refused_deployments).await?;
            write_twins(hub, &configurations, &deployed, &mut self.refused).await?;
            count_metrics(hub, &configurations).await?;
            self.idle = configurations.is_empty();
        }
        self.seen = Some(writes);
        Ok(())
    }
}

/// The settings that a configuration writes into each twin that it targets.
struct SettingsSource<'c> {
    configuration: &'c Configuration,
    settings: JsonObject,
}

/// Writes the twins of identities that no IoT Edge deployment controls.
async fn write_twins(
    hub: &Hub,
    configurations: &[Configuration],
    deployed: &BTreeSet<DeviceId>,
    refused: &mut BTreeMap<IdentityId, RolledOut>,
) -> ApiResult<()> {
    let is_deployed =
        |identity: &IdentityId| identity.module().is_some() && deployed.contains(identity.device());
    let mut targets: BTreeMap<IdentityId, Vec<usize>> = BTreeMap::new();
    let sources: Vec<SettingsSource<'_>> = configurations.iter().filter_map(source).collect();
    for (place, source) in sources.iter().enumerate() {
        let Some(target) = source.configuration.target() else { continue };
        for identity in query::identities(hub, &parsed(&target)?).await? {
            if !is_deployed(&identity) {
                targets.entry(identity).or_default().push(place);
            }
        }
    }
    let mut changes: Vec<(IdentityId, Option<Vec<usize>>)> = Vec::new();
    for identity in identities_with_configurations(hub).await {
        if !targets.contains_key(&identity) && !is_deployed(&identity) {
            changes.push((identity, None));
        }
    }
    changes.extend(targets.into_iter().map(|(identity, places)| (identity, Some(places))));
    for chunk in changes.chunks(WRITES_AT_ONCE) {
        let wanted = |places: &Option<Vec<usize>>| rolled_out(&sources, places.as_deref()?);
        let differs = |(identity, places): &&(IdentityId, Option<Vec<usize>>)| {
            let wanted = wanted(places).map(|(rolled_out, _)| rolled_out);
            let was_refused = wanted.is_some() && refused.get(identity) == wanted.as_ref();
            !was_refused && hub.read(|registry| registry.configurations_of(identity) != wanted.as_ref())
        };
        let different: Vec<_> = chunk.iter().filter(differs).collect();
        if different.is_empty() {
            continue;
        }
        hub.write(|registry, now, journal| {
            for (identity, places) in different {
                let wanted = wanted(places).map(|(rolled_out, source)| {
                    let configuration = source.configuration.id().to_owned();
                    let origin = WriteOrigin { configuration, digest: source.configuration.digest() };
                    (rolled_out, source.settings.clone(), origin)
                });
                let rolled_out = wanted.as_ref().map(|(rolled_out, ..)| rolled_out.clone());
                if let Err(error) = registry.roll_out(identity, wanted, now, journal) {
                    tracing::warn!("a configuration can't be applied to {identity}: {}", error.text);
                    refused.extend(rolled_out.map(|rolled_out| (identity.clone(), rolled_out)));
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The settings of a configuration; `None` if the hub does not apply its kind.
fn source(configuration: &Configuration) -> Option<SettingsSource<'_>> {
    let settings = readable(configuration, configuration.settings())?;
    Some(SettingsSource { configuration, settings: settings.into_patch() })
}

/// Returns the readable part of a configuration; one that an earlier version stored may be invalid.
fn readable<T>(configuration: &Configuration, read: ApiResult<Option<T>>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!("configuration {} can't be applied: {}", configuration.id(), error.text);
        None
    })
}

/// The twin's list of these configurations, and the one that is applied.
fn rolled_out<'s, 'c>(
    sources: &'s [SettingsSource<'c>],
    places: &[usize],
) -> Option<(RolledOut, &'s SettingsSource<'c>)> {
    let targeting: Vec<&SettingsSource<'_>> = places.iter().filter_map(|place| sources.get(*place)).collect();
    let first = *targeting.first()?;
    let ids = targeting.iter().map(|source| source.configuration.id());
    Some((RolledOut::new(ids, first.configuration.created()), first))
}

/// Every identity with configurations in its twin.
async fn identities_with_configurations(hub: &Hub) -> BTreeSet<IdentityId> {
    let (mut shown, mut after) = (BTreeSet::new(), None);
    loop {
        let (found, reached) = hub.read(|registry| registry.rolled_out(after.as_ref()));
        shown.extend(found);
        if reached.is_none() {
            return shown;
        }
        after = reached;
        // Whoever waits for the lock gets it.
        tokio::task::yield_now().await;
    }
}

async fn count_metrics(hub: &Hub, configurations: &[Configuration]) -> ApiResult<()> {
    for configuration in configurations {
        let (queries, mut counts) = (configuration.metric_queries(), Vec::new());
        for text in queries.texts() {
            let query = metric_query(text).map_err(|error| ApiError::server(error.to_string()))?;
            counts.push(query::count(hub, &query).await?);
        }
        let counts = queries.counted(&counts);
        // The same counts again are no write, or else each look would ask for the next one.
        if !configuration.shows(&counts) {
            hub.write_configurations(|configurations, _, touched| {
                configurations.record_metrics(configuration.id(), counts, touched);
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

fn parsed(text: &str) -> ApiResult<Query> {
    // It was parsed when the configuration was taken.
    Query::parse(text).map_err(|error| ApiError::server(error.to_string()))
}

const WRITES_AT_ONCE: usize = 100;
