//! Connecting as devices and modules, as they will: over MQTT with TLS, with their own certificates or
//! keys. Who is let in and reads its twin is proof that what was provisioned works.
//!
//! A [`DeviceHub`] is the hub as devices see it (`tls`: whom to trust, `session`: one connection).
//! [`CredentialSource`] finds the certificate and key of an identity. [`connect_each`] connects as many
//! of them, some at once, as fast as the rate limiter permits.
//!
//! Source: "Communicate with an IoT hub using the MQTT protocol". Proxies for HTTPS play no part in it.

use std::sync::Arc;
use std::time::Duration;

use hub_types::IdentityId;
use hub_types::limits::OperationClass;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::hub::rate_limit::{CallClass, CallEnd, Denied, ProbeEnd, RateLimiter};
use crate::hub::{HubClientOptions, HubSize, NetworkFailure};
pub(crate) use credentials::{CredentialError, CredentialSource, DeviceCredentials};
pub(crate) use error::{ConnectError, ConnectErrorClass};
pub(crate) use given_files::GivenFiles;
pub(crate) use provisioning::DeviceProvisioning;
use retry::with_retry;
use session::DeviceSession;
pub(crate) use session::DeviceTwin;
use tls::Tls;

mod credentials;
mod error;
mod given_files;
mod provisioning;
mod retry;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

/// The way of a device to its twin.
pub(crate) trait Visit: Send + Sync + 'static {
    /// Opens a connection without saying who is there: whether there is a service, and one to be trusted.
    fn knock(&self) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// Connects as an identity and reads its twin. What may pass is tried again, for minutes.
    fn twin(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> impl Future<Output = Result<DeviceTwin, ConnectError>> + Send;
}

/// A hub, as devices see it.
#[derive(Debug)]
pub(crate) struct DeviceHub {
    address: DeviceHubAddress,
    tls: Tls,
    rate_limiter: RateLimiter,
    deadline: Duration,
}

/// The address of a hub for devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceHubAddress {
    /// The name that the hub's certificate must have, and that devices call it by.
    pub(crate) name: String,
    /// The host to connect to, which may differ from the hub's name, as at the end of a tunnel.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

impl DeviceHubAddress {
    /// The port that IoT Hub listens on.
    pub(crate) const PORT: u16 = 8883;

    /// Of the hub that services call at `host`, where a port may stand behind the name.
    pub(crate) fn of(host: &str) -> Self {
        let name = host.split_once(':').map_or(host, |(name, _port)| name).to_owned();
        Self { host: name.clone(), name, port: Self::PORT }
    }

    /// The same hub, reached elsewhere.
    pub(crate) fn at(self, host: String, port: u16) -> Self {
        Self { host, port, ..self }
    }
}

impl std::fmt::Display for DeviceHubAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl DeviceHub {
    /// The hub at an address, which is trusted as [`HubClient`](crate::hub::HubClient) trusts it. Nothing
    /// is sent yet.
    pub(crate) fn new(
        address: DeviceHubAddress,
        trust: &HubClientOptions,
        size: Option<HubSize>,
    ) -> Result<Self, ConnectError> {
        let tls = Tls::new(&address.name, trust).map_err(ConnectError::Setup)?;
        let rate_limiter = RateLimiter::new(trust.status.clone());
        if let Some(HubSize { tier, units }) = size {
            rate_limiter.set_tier(tier, units);
        }
        Ok(Self { address, tls, rate_limiter, deadline: DEADLINE })
    }

    /// Keeps the rate of registrations with a DPS.
    pub(crate) fn with_registrations_per_minute(self, registrations: u32) -> Self {
        self.rate_limiter.set_operations_per_minute(registrations);
        self
    }

    /// Gives up on each step of a connection after this time, and not after a minute.
    pub(crate) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The address.
    pub(crate) fn address(&self) -> &DeviceHubAddress {
        &self.address
    }

    /// Opens a connection without saying who is there: whether there is a hub, and one to be trusted. The
    /// answer is the certificates that it shows, its own first.
    pub(crate) async fn knock(&self) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
        let stream = self.open(None).await?;
        let (_, tls) = stream.get_ref();
        Ok(tls.peer_certificates().unwrap_or_default().to_vec())
    }

    async fn is_back(&self) -> ProbeEnd {
        match self.knock().await.map_err(|error| error.concerns_all()) {
            Ok(_) => ProbeEnd::Back,
            Err(true) => ProbeEnd::Hopeless,
            Err(false) => ProbeEnd::Away,
        }
    }

    /// Connects as an identity and reads its twin. What may pass is tried again, for minutes.
    pub(crate) async fn twin(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<DeviceTwin, ConnectError> {
        with_retry(|| self.twin_once(identity, credentials)).await
    }

    /// Connects as an identity and reads its twin, as soon as the rate limiter permits it.
    async fn twin_once(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<DeviceTwin, ConnectError> {
        let mut permits = Vec::new();
        for class in [OperationClass::Connection, OperationClass::TwinRead] {
            let permit = self.rate_limiter.permit(class, 1, || self.is_back()).await;
            permits.push(permit.map_err(|denied| self.denied(denied))?);
        }
        let twin = self.visit(identity, credentials).await;
        let end = call_end(&twin);
        permits.into_iter().for_each(|permit| permit.ended(end));
        twin
    }

    async fn visit(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<DeviceTwin, ConnectError> {
        let stream = self.open(Some(credentials)).await?;
        let mut session = DeviceSession::new(stream, self.deadline);
        session.log_in(&self.address.name, identity, credentials).await?;
        let twin = session.twin().await?;
        session.close().await;
        Ok(twin)
    }

    /// Registers as soon as the rate limiter permits it.
    async fn permitted_registration<T, F>(&self, register: impl FnOnce() -> F) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let permit = self.rate_limiter.permit(CallClass::Dps, 1, || self.is_back()).await;
        let permit = permit.map_err(|denied| self.denied(denied))?;
        let registered = register().await;
        permit.ended(call_end(&registered));
        registered
    }

    fn denied(&self, denied: Denied) -> ConnectError {
        match denied {
            Denied::Unavailable(away) => ConnectError::Down { address: self.address.clone(), away },
            Denied::Stopped => ConnectError::Stopped,
        }
    }

    /// The time after which each step of a connection is given up.
    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn open(
        &self,
        credentials: Option<&DeviceCredentials>,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let address = &self.address;
        let unreachable = |source: std::io::Error| ConnectError::Unreachable {
            address: address.clone(),
            failure: NetworkFailure::of(&source),
        };
        let tcp = TcpStream::connect((address.host.as_str(), address.port));
        let tcp = timeout(self.deadline.min(TCP_DEADLINE), tcp).await;
        let tcp = tcp.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let config = self.tls.config(credentials).map_err(ConnectError::Setup)?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(self.tls.name(), tcp);
        match timeout(self.deadline, handshake).await {
            Ok(stream) => stream.map_err(|error| ConnectError::broken(error, "the TLS handshake", address)),
            Err(_) => Err(ConnectError::TimedOut { step: "the TLS handshake", after: self.deadline }),
        }
    }
}

impl Visit for DeviceHub {
    async fn knock(&self) -> Result<(), ConnectError> {
        Self::knock(self).await.map(drop)
    }

    async fn twin(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<DeviceTwin, ConnectError> {
        Self::twin(self, identity, credentials).await
    }
}

/// The end of a call for the rate limiter.
fn call_end<T>(result: &Result<T, ConnectError>) -> CallEnd {
    match result.as_ref().map_err(ConnectError::class) {
        Ok(_) | Err(ConnectErrorClass::Refused | ConnectErrorClass::Setup) => CallEnd::Served,
        Err(ConnectErrorClass::Throttled) => CallEnd::Throttled,
        Err(ConnectErrorClass::Transient | ConnectErrorClass::Stopped) => CallEnd::Failed,
    }
}

/// Connects as each identity with its credentials, at most `concurrency` at once, and tells what each
/// found, as they end. It fails only for what concerns all: a hub that is not to be trusted, or that has
/// been down for too long; or when `stop` is cancelled, and then it stops at once: nothing was written.
pub(crate) async fn connect_each<V: Visit>(
    hub: &Arc<V>,
    identities: impl IntoIterator<Item = (IdentityId, DeviceCredentials)>,
    concurrency: usize,
    stop: &CancellationToken,
    mut tell: impl FnMut(IdentityId, Result<DeviceTwin, ConnectError>),
) -> Result<(), ConnectError> {
    let mut waiting = identities.into_iter();
    let mut connecting = JoinSet::new();
    loop {
        while connecting.len() < concurrency.max(1)
            && let Some((identity, credentials)) = waiting.next()
        {
            let hub = Arc::clone(hub);
            connecting.spawn(async move {
                let twin = hub.twin(&identity, &credentials).await;
                (identity, twin)
            });
        }
        let Some(ended) = stop.run_until_cancelled(connecting.join_next()).await else {
            return Err(ConnectError::Stopped);
        };
        match ended {
            None => return Ok(()),
            Some(Ok((_, Err(error)))) if error.concerns_all() => return Err(error),
            Some(Ok((identity, twin))) => tell(identity, twin),
            Some(Err(panic)) => return Err(ConnectError::Worker(panic)),
        }
    }
}

/// The default number of open connections: enough to keep the cores of this machine busy while
/// responses are pending.
pub(crate) fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from) * CONNECTIONS_PER_CORE
}

const CONNECTIONS_PER_CORE: usize = 8;
const TCP_DEADLINE: Duration = Duration::from_secs(20);
/// Under load a hub lets connections wait before it refuses any.
const DEADLINE: Duration = Duration::from_secs(60);
