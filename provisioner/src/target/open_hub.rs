//! [`OpenHub`]: a hub that can be called, in this process or elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub_types::connection_string::HubHost;
use local_hub::LocalHub;
use zeroize::Zeroizing;

use super::{HubLabel, Target, TargetChoice, TargetError};
use crate::device::{ConnectError, DeviceHub, DeviceHubAddress};
use crate::hub::{Access, HubClient, HubClientOptions, HubSize};
use crate::model::observer::RunObserver;
use crate::model::service_status::StatusListener;

/// A hub that can be called. Keep it as long as it is called.
pub(crate) struct OpenHub {
    /// The client.
    pub(crate) client: Arc<HubClient>,
    /// The name of the hub for ledgers and results.
    pub(crate) label: HubLabel,
    /// The hub itself, if it runs in this process.
    pub(crate) local: Option<LocalHub>,
    /// The host that devices connect to, if it differs from that of services.
    pub(crate) device_host: Option<HubHost>,
    /// The trust settings for the hub's certificate.
    pub(crate) trust: HubClientOptions,
    /// The size of the hub, if it is known.
    pub(crate) size: Option<HubSize>,
}

impl Target {
    /// Prepares the hub for calls. The embedded one is started; nothing is sent to others. `status` is told
    /// about waits and outages.
    pub(crate) async fn open(self, status: StatusListener) -> Result<OpenHub, TargetError> {
        self.open_with(local_hub::Config::default(), status).await
    }

    /// The same for devices to connect to. What the embedded hub takes are certificates of the CAs in
    /// these PEM files, besides those that it knows by their thumbprints.
    pub(crate) async fn open_for_devices(
        self,
        device_cas: Vec<PathBuf>,
        status: StatusListener,
    ) -> Result<OpenHub, TargetError> {
        let mqtt = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        self.open_with(local_hub::Config { mqtt, device_cas, ..local_hub::Config::default() }, status).await
    }

    /// `embedded` is how the embedded hub is to run.
    async fn open_with(
        self,
        embedded: local_hub::Config,
        status: StatusListener,
    ) -> Result<OpenHub, TargetError> {
        let label = self.label();
        match self {
            Self::Embedded { data } => open_embedded(data, label, embedded, status).await,
            Self::Remote { access, device_host, ca_files, size, .. } => {
                let extra_roots = ca_files.iter().map(|path| read_ca_file(path)).collect::<Result<_, _>>()?;
                let trust = HubClientOptions { extra_roots, is_local: false, status };
                let client = HubClient::new(access, &trust).map_err(TargetError::Client)?;
                if let Some(HubSize { tier, units }) = size {
                    client.rate_limiter().set_tier(tier, units);
                }
                Ok(OpenHub { client: Arc::new(client), label, local: None, device_host, trust, size })
            }
        }
    }
}

impl OpenHub {
    /// The hub's address for devices: the standard port of its device host, or the listener of the
    /// embedded hub, or a different host and port. Its certificate must have the name of the device
    /// host in any case.
    pub(crate) fn for_devices(&self, elsewhere: Option<(String, u16)>) -> Result<DeviceHub, ConnectError> {
        let host = self.device_host.as_ref().map_or_else(|| self.client.host(), HubHost::as_str);
        let address = DeviceHubAddress::of(host);
        let embedded = self.local.as_ref().and_then(LocalHub::mqtt_addr);
        let embedded = embedded.map(|address| (address.ip().to_string(), address.port()));
        let address = match elsewhere.or(embedded) {
            Some((host, port)) => address.at(host, port),
            None => address,
        };
        DeviceHub::new(address, &self.trust, self.size)
    }

    /// Lets go of the hub; the embedded one writes down all it knows and stops.
    pub(crate) async fn close(self) {
        if let Some(hub) = self.local {
            hub.shutdown().await;
        }
    }
}

/// Opens a hub for a few calls, calls `work` with it and closes it. The calls are given up after
/// `patience`, if the hub does not answer or takes no more calls.
pub(crate) async fn with_hub<T, E: From<TargetError>>(
    choice: TargetChoice,
    patience: Duration,
    observer: &dyn RunObserver,
    work: impl AsyncFnOnce(&OpenHub) -> Result<T, E>,
) -> Result<T, E> {
    let target = Target::resolve(choice, ".".as_ref()).await?;
    target.announce(observer);
    let hub = target.open(observer.status_listener()).await?;
    hub.client.rate_limiter().be_brief(patience);
    let done = work(&hub).await;
    hub.close().await;
    done
}

async fn open_embedded(
    data: PathBuf,
    label: HubLabel,
    config: local_hub::Config,
    status: StatusListener,
) -> Result<OpenHub, TargetError> {
    let failed = |source| TargetError::Local { data: data.clone(), source };
    let config = local_hub::Config { data: Some(data.clone()), ..config };
    let hub = LocalHub::start(config).await.map_err(failed)?;
    let access = hub.connection_string("iothubowner").map_err(failed)?;
    let extra_roots = vec![Zeroizing::new(hub.ca_pem().as_bytes().to_vec())];
    let trust = HubClientOptions { extra_roots, is_local: true, status };
    let client = HubClient::new(Access::SharedKey(access), &trust).map_err(TargetError::Client)?;
    Ok(OpenHub { client: Arc::new(client), label, local: Some(hub), device_host: None, trust, size: None })
}

pub(super) fn read_ca_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TargetError> {
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| TargetError::CaFile { path: path.to_owned(), source })
}
