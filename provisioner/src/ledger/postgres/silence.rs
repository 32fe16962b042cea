//! The handling of calls without a response: the call takes long, or the server is unavailable.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::access::Servers;
use super::client::{Backend, Error};

/// The state of a backend with a pending response, as seen by a second connection.
enum BackendState {
    /// The backend is working: the call takes long.
    AtWork,
    /// The server knows nothing of it any more.
    Gone,
    /// No server responds.
    Nothing,
}

/// Waits for a call's response. Fails if the backend has ended, or if no server has responded for a
/// while.
pub(super) async fn answered<T>(
    call: impl Future<Output = Result<T, Error>>,
    access: &Servers,
    backend: &Backend,
) -> Result<T, Error> {
    let mut call = pin!(call);
    if let Ok(answer) = timeout(QUIET, &mut call).await {
        return answer;
    }
    let mut silent_since = Instant::now() - QUIET;
    loop {
        let pause = tokio::select! {
            biased;
            answer = &mut call => return answer,
            found = look_for(backend, access) => match found {
                BackendState::Gone => return Err(Error::Silent),
                BackendState::AtWork => {
                    access.outage.over();
                    silent_since = Instant::now();
                    PAUSE
                }
                BackendState::Nothing => {
                    access.outage.begin(silent_since.into_std());
                    access.outage.failed();
                    if silent_since.elapsed() > GIVE_UP {
                        return Err(Error::Silent);
                    }
                    QUIET
                }
            },
        };
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = sleep(pause) => {}
        }
    }
}

/// Looks up a backend on a separate connection.
async fn look_for(backend: &Backend, access: &Servers) -> BackendState {
    let look = async {
        let (client, connection) = access.connect().await?;
        let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        Ok::<_, Error>(client.simple_query(&find(backend)).await?.len())
    };
    match timeout(PROBE_WITHIN, look).await {
        // A result of no row still has its end.
        Ok(Ok(messages)) if messages > 2 => BackendState::AtWork,
        Ok(Ok(_)) => BackendState::Gone,
        Ok(Err(error)) if error.is_refusal() => BackendState::Gone,
        _ => BackendState::Nothing,
    }
}

/// Ends the backend of a lost connection, if the server still has it: otherwise a pending statement
/// would be executed after its repetition.
pub(super) const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1::text::integer AND backend_start = $2::text::timestamptz";

fn find(backend: &Backend) -> String {
    // Both are the server's own words.
    format!(
        "SELECT 1 FROM pg_stat_activity WHERE pid = {} AND backend_start = '{}'",
        backend.pid, backend.since
    )
}

/// The time after which a call that was not answered is noticed.
const QUIET: Duration = Duration::from_secs(1);
/// The time that a server gets to answer a second connection.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// The time between looks at a backend that is at work.
const PAUSE: Duration = Duration::from_secs(10);
/// The time after which a connection to an unresponsive server is abandoned and a new one is tried,
/// to any server.
const GIVE_UP: Duration = Duration::from_secs(15);
