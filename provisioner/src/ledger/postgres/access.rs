//! The servers of a ledger's database, and the connections to them.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::client::Error;
use super::outage::DatabaseOutage;
use crate::model::service_status::StatusListener;

/// The parameters of a connection.
pub(super) struct Servers {
    /// One configuration for each server, so that each has its own time to respond.
    servers: Vec<Config>,
    tls: ClientConfig,
    /// The time in which no server answers.
    pub(super) outage: DatabaseOutage,
}

/// The future that drives a connection.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Servers {
    pub(super) fn new(
        access: &Config,
        status: StatusListener,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { servers: each_server(access), tls: tls()?, outage: DatabaseOutage::new(status) })
    }

    /// Connects to the first server that accepts writes.
    pub(super) async fn connect(&self) -> Result<(tokio_postgres::Client, Driver), Error> {
        let mut last = Error::Silent;
        for server in &self.servers {
            let connecting = async {
                let (client, connection) = server.connect(MakeRustlsConnect::new(self.tls.clone())).await?;
                let driver: Driver = Box::pin(async move {
                    // Its end is seen by whoever waits for an answer.
                    let _ = connection.await;
                });
                Ok((client, driver))
            };
            match self.within(connecting).await {
                Ok(connected) => return Ok(connected),
                // A server that refuses tells more than one that is not there.
                Err(error) if matches!(last, Error::Silent) || error.is_refusal() => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    /// Limits the time of a step of connecting.
    pub(super) async fn within<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(CONNECT_TIMEOUT, step).await.unwrap_or(Err(Error::Silent))
    }
}

/// Splits the access by server. The server that accepts writes may change, and only that one is
/// used.
fn each_server(access: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (access.get_hosts(), access.get_hostaddrs(), access.get_ports());
    let server = |index: usize| {
        let mut server = Config::new();
        access.get_user().map(|user| server.user(user));
        access.get_password().map(|password| server.password(password));
        access.get_dbname().map(|name| server.dbname(name));
        access.get_options().map(|options| server.options(options));
        match hosts.get(index) {
            Some(Host::Tcp(host)) => drop(server.host(host.as_str())),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(server.host_path(path)),
            None => {}
        }
        addresses.get(index).map(|address| server.hostaddr(*address));
        ports.get(index).or_else(|| ports.first()).map(|port| server.port(*port));
        server
            .ssl_mode(access.get_ssl_mode())
            .ssl_negotiation(access.get_ssl_negotiation())
            .channel_binding(access.get_channel_binding())
            .application_name("provisioner")
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_TIMEOUT)
            // A server that vanished without a word is noticed by its silence, whether a call waits for it or not.
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(3)
            .tcp_user_timeout(3 * KEEPALIVE);
        server
    };
    (0..hosts.len().max(addresses.len())).map(server).collect()
}

/// Trusts the roots that `PGSSLROOTCERT` names, as PostgreSQL's own tools do, or the system's.
fn tls() -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let Some(file) = std::env::var_os("PGSSLROOTCERT").filter(|file| !file.is_empty()) else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let unusable = |error: &dyn std::fmt::Display| format!("PGSSLROOTCERT can't be used: {error}");
    for root in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        roots.add(root.map_err(|error| unusable(&error))?)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A server that takes longer to let a connection in is treated as one that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::SslMode;

    #[test]
    fn each_server_is_tried_by_itself_and_must_take_writes() {
        let access = "postgres://line3:secret@a:1,b,c:3/units?sslmode=require&target_session_attrs=any";
        let servers = each_server(&access.parse().unwrap());
        let ports: Vec<u16> = servers.iter().map(|server| server.get_ports()[0]).collect();
        assert_eq!(ports, [1, 5432, 3]);
        for (server, host) in servers.iter().zip(["a", "b", "c"]) {
            assert_eq!(server.get_hosts(), [Host::Tcp(host.to_owned())]);
            assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!((server.get_user(), server.get_dbname()), (Some("line3"), Some("units")));
            assert_eq!(server.get_password(), Some(b"secret".as_slice()));
            assert_eq!(server.get_ssl_mode(), SslMode::Require);
        }
    }
}
