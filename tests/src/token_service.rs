//! Stand-ins for the services that issue tokens of Entra ID, which no test can reach: the authority
//! that applications sign in to, the metadata service of a machine with a managed identity, and
//! `az`.
//!
//! They implement the protocols that Microsoft documents, require the right secret, and issue
//! tokens that the local hub has signed. Source: "OAuth 2.0 client credentials flow", "How to use
//! managed identities for App Service".

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{ServedHub, Station};

/// The secret that an application or a machine must present.
pub const SIGN_IN_SECRET: &str = "canary-of-the-sign-in-2718";

/// A token service that runs until the test process ends.
#[derive(Debug)]
pub struct TokenService {
    url: String,
    certificate: Option<PathBuf>,
    state: Arc<ServiceState>,
}

/// The behaviour of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Issues tokens that are valid for this many seconds.
    Gives(u32),
    /// Redirects to this location, as a hostile proxy would.
    Redirects(&'static str),
    /// Refuses the request, as for an expired secret.
    Refuses,
}

#[derive(Debug)]
struct ServiceState {
    manner: Mutex<Manner>,
    requests: Mutex<Vec<String>>,
    token: String,
}

impl TokenService {
    /// The authority, over TLS. Its callers must trust [`TokenService::certificate`].
    pub fn authority(station: &Station, hub: &ServedHub) -> Result<Self> {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = station.write("authority.pem", &signed.cert.pem())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)?;
        let tls = Arc::new(tls);
        let service =
            Self::serve("https", hub.entra_token(station, "data-contributor")?, move |stream, state| {
                let connection = ServerConnection::new(tls.clone())?;
                answer(StreamOwned::new(connection, stream), state)
            })?;
        Ok(Self { certificate: Some(certificate), ..service })
    }

    /// The metadata service, over plain HTTP, which issues a token with this role.
    pub fn metadata(station: &Station, hub: &ServedHub, role: &str) -> Result<Self> {
        Self::serve("http", hub.entra_token(station, role)?, answer)
    }

    /// The URL of the service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its self-signed certificate.
    pub fn certificate(&self) -> Option<&PathBuf> {
        self.certificate.as_ref()
    }

    /// Changes the behaviour for later requests.
    pub fn set_manner(&self, manner: Manner) {
        *self.state.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// The requests so far: method, path, headers and body as one text.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(
        scheme: &str,
        token: String,
        serve: impl Fn(TcpStream, &ServiceState) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("{scheme}://localhost:{}", listener.local_addr()?.port());
        let (manner, requests) = (Mutex::new(Manner::Gives(3600)), Mutex::default());
        let state = Arc::new(ServiceState { manner, requests, token });
        let ours = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away shows in what the test sees of the client.
                let _ = serve(stream, &ours);
            }
        });
        Ok(Self { url, certificate: None, state })
    }
}

/// Serves one request, and closes the connection.
fn answer(mut stream: impl Read + Write, state: &ServiceState) -> Result<()> {
    let request = read_request(&mut stream)?;
    let manner = *state.manner.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = request.contains(SIGN_IN_SECRET);
    state.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    if let Manner::Redirects(location) = manner {
        write!(
            stream,
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        return Ok(stream.flush()?);
    }
    let (status, body) = match manner {
        Manner::Gives(seconds) if is_known => ("200 OK", granted(&state.token, seconds)?),
        _ => ("401 Unauthorized", REFUSED.to_owned()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    Ok(stream.flush()?)
}

/// The token response of both services: each client reads the members that it knows.
fn granted(token: &str, seconds: u32) -> Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let end = now + u64::from(seconds);
    Ok(format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds},"expires_on":"{end}","resource":"https://iothubs.azure.net"}}"#
    ))
}

fn read_request(stream: &mut impl Read) -> Result<String> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let begin = request.len();
        ensure!(reader.read_line(&mut request)? > 0, "the request ends early");
        let line = request.get(begin..).unwrap_or_default().trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(request + &String::from_utf8(body)?)
}

impl ServedHub {
    /// A token that the hub itself made, as Entra ID would for a user with this role. The hub
    /// accepts it if it serves with `--entra-test`.
    pub fn entra_token(&self, station: &Station, role: &str) -> Result<String> {
        let mut command = station.command("local-hub")?;
        let made = command.args(["entra-token", "--role", role, "--data"]).arg(self.data()).output()?;
        ensure!(made.status.success(), "{made:?}");
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }
}

/// Writes a program `az` into a folder of the station, for PATH, and returns the folder. For a
/// token of IoT Hub it prints the same as the real program; without a token, it reports that no
/// user is logged in.
#[cfg(unix)]
pub fn az(station: &Station, token: Option<&str>) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let folder = station.path("az-bin");
    std::fs::create_dir_all(&folder)?;
    let script = match token {
        Some(token) => format!(
            "#!/bin/sh\n[ \"$*\" = 'account get-access-token -o json --scope https://iothubs.azure.net/.default' ] || exit 2\n\
             end=$(($(date +%s) + 3600))\n\
             printf '{{\"accessToken\": \"{token}\", \"expiresOn\": \"2999-01-01 00:00:00.000000\", \"expires_on\": %s, \
             \"subscription\": \"s\", \"tenant\": \"t\", \"tokenType\": \"Bearer\"}}\\n' \"$end\"\n"
        ),
        None => "#!/bin/sh\necho \"ERROR: Please run 'az login' to setup account.\" >&2\nexit 1\n".to_owned(),
    };
    std::fs::write(folder.join("az"), script)?;
    std::fs::set_permissions(folder.join("az"), std::fs::Permissions::from_mode(0o755))?;
    std::fs::canonicalize(&folder).context("the folder of `az` was made just now")
}

const REFUSED: &str = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#;
