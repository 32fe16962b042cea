//! Clients that never finish their handshake: their cost, and their effect on other clients.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::open_files::allow_many_connections;
use super::*;
use crate::access::certificates::Authority;
use crate::access::policy::Policies;
use crate::backend::Backend;
use crate::hub::Hub;
use crate::storage::hub_tables::Stored;

/// A protocol that sends one byte back.
struct Echo;

impl Protocol for Echo {
    const MAX_CONNECTIONS: usize = 1;
    const SCHEME: &'static str = "echo";

    async fn serve(self: Arc<Self>, mut stream: TlsStream<TcpStream>, _: Peer, _: CancellationToken) {
        let byte = stream.read_u8().await.unwrap();
        stream.write_u8(byte).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

struct Scene {
    listener: Listener,
    address: SocketAddr,
    authority: Authority,
    hub: Arc<Hub>,
}

impl Scene {
    async fn set() -> Self {
        let authority = Authority::generate().unwrap();
        let tls = authority.server_config(&["localhost".to_owned()]).unwrap();
        let hub = Arc::new(Hub::standalone(Stored::default(), None, Policies::generate()));
        let log = Arc::new(ConnectionLog::new(Arc::clone(hub.clock()), None));
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addr().unwrap();
        let offline = hub.faults().offline();
        let listener = Listener::serve(bound, Arc::new(tls), Arc::new(Echo), log, offline);
        Self { listener, address, authority, hub }
    }

    /// Sends a byte as a well-behaved client, and returns the response.
    async fn echo(&self, byte: u8) -> u8 {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.authority.certificate_pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.write_u8(byte).await.unwrap();
        stream.read_u8().await.unwrap()
    }
}

#[tokio::test]
async fn two_thousand_half_open_connections_keep_nobody_out_and_end() {
    allow_many_connections();
    let scene = Scene::set().await;
    let mut half_open = Vec::new();
    for number in 0..2000 {
        let Ok(mut stream) = TcpStream::connect(scene.address).await else {
            break; // The system allows no more open files.
        };
        // Some say nothing, some begin a ClientHello and do not end it.
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]).await.unwrap();
        }
        half_open.push(stream);
    }
    // A file for each end of those that behave well.
    half_open.truncate(half_open.len() - 10);
    assert!(half_open.len() > 100, "{}", half_open.len());
    // The listener has one place, which none of them holds.
    for byte in 0..3 {
        assert_eq!(scene.echo(byte).await, byte);
    }
    // The clock jumps to whatever is waited for.
    tokio::time::pause();
    for stream in &mut half_open {
        let mut rest = Vec::new();
        // An alert may come before the end, and what the hub has not read turns it into a reset.
        let _ = stream.read_to_end(&mut rest).await;
    }
    scene.listener.connections.close();
    scene.listener.connections.wait().await;
    assert_eq!(scene.listener.connections.len(), 0);
    drop(scene.hub);
}

#[tokio::test]
async fn a_client_that_only_connects_costs_a_small_task() {
    let scene = Scene::set().await;
    let tls = scene.authority.server_config(&["localhost".to_owned()]).unwrap();
    let log = Arc::new(ConnectionLog::new(Arc::clone(scene.hub.clock()), None));
    let connection = Connection {
        tls: Arc::new(tls),
        protocol: Arc::new(Echo),
        peer: Peer::new(log, Echo::SCHEME, scene.address),
        permits: Arc::new(Semaphore::new(1)),
        stop: CancellationToken::new(),
    };
    let stream = TcpStream::connect(scene.address).await.unwrap();
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let task = size_of_val(&connection.run(stream, place));
    assert!(task < 1024, "{task} bytes");
}
