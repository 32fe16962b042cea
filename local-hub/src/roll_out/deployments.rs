//! IoT Edge deployments: every target device gets the modules and the settings of the base of the
//! highest priority, with the layers above it.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::DeviceId;

use super::{WRITES_AT_ONCE, parsed, readable};
use crate::api_error::ApiResult;
use crate::configuration_content::{Deployment, DeploymentStack};
use crate::configurations::Configuration;
use crate::hub::Hub;
use crate::query;

/// The deployments that a device has refused, so that they are not retried every time.
pub(super) type Refused = BTreeMap<DeviceId, Vec<(String, u64)>>;

/// Updates the devices that deployments target. Returns these devices: no other configuration
/// writes the twins of their modules.
pub(super) async fn roll_out(
    hub: &Hub,
    configurations: &[Configuration],
    refused: &mut Refused,
) -> ApiResult<BTreeSet<DeviceId>> {
    let mut deployments: Vec<(Deployment, String)> = Vec::new();
    for configuration in configurations {
        let deployment = readable(configuration, configuration.deployment());
        deployments.extend(deployment.zip(configuration.target()));
    }
    let mut targets: BTreeMap<DeviceId, Vec<&Deployment>> = BTreeMap::new();
    for (deployment, target) in &deployments {
        for identity in query::identities(hub, &parsed(target)?).await? {
            targets.entry(identity.device().clone()).or_default().push(deployment);
        }
    }
    let stacks: Vec<_> =
        targets.into_iter().map(|(device, targeting)| (device, DeploymentStack::new(targeting))).collect();
    for chunk in stacks.chunks(WRITES_AT_ONCE) {
        deploy(hub, chunk, refused).await?;
        // Whoever waits for the lock gets it.
        tokio::task::yield_now().await;
    }
    Ok(stacks.into_iter().map(|(device, _)| device).collect())
}

async fn deploy(
    hub: &Hub,
    stacks: &[(DeviceId, DeploymentStack<'_>)],
    refused: &mut Refused,
) -> ApiResult<()> {
    let mut due = Vec::new();
    for (device, stack) in stacks {
        let was_refused = refused.get(device).is_some_and(|key| *key == stack.key());
        // What can't be judged can't be written either, and says why then.
        if !was_refused && !hub.read(|registry| registry.is_deployed(device, stack)).unwrap_or(false) {
            due.push((device, stack));
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    hub.write(|registry, now, journal| {
        for (device, stack) in due {
            refused.remove(device);
            if let Err(error) = registry.deploy(device, stack, now, journal) {
                tracing::warn!("an IoT Edge deployment can't be applied to {device}: {}", error.text);
                refused.insert(device.clone(), stack.key());
            }
        }
        Ok(())
    })
    .await?;
    Ok(())
}
