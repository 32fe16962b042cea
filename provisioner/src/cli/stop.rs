//! Requests to stop: Ctrl-C, or a signal that ends a process.
//!
//! The first request ends the program at once, unless something is under way that has to be finished
//! ([`Stop::set_careful`]): then nothing new is begun, and the next request ends it at once. Each is answered
//! on stderr, and the exit code is 4 in every case.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cli_support::exit::Exit;
use cli_support::{new_file, stderr};
use tokio_util::sync::CancellationToken;

/// The requests to stop of whoever watches this program.
#[derive(Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    phase: Arc<Mutex<Phase>>,
}

/// The phase in which a request to stop arrives.
struct Phase {
    /// Advice on continuing the work.
    advice: String,
    /// True during work that has to be finished.
    is_careful: bool,
}

impl Default for Phase {
    fn default() -> Self {
        Self { advice: "run the same command again".to_owned(), is_careful: false }
    }
}

impl Stop {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        let stop = Self::default();
        let requested = stop.clone();
        // Where there can be no handler the process just ends, which every file and ledger survives.
        let _ = ctrlc::set_handler(move || requested.request());
        stop
    }

    /// A token that is cancelled by the first request.
    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Says how the work can be continued once it is stopped.
    pub(super) fn advise(&self, advice: String) {
        self.phase().advice = advice;
    }

    /// Sets if work under way is finished before the program ends. That work watches the token.
    pub(super) fn set_careful(&self, is_careful: bool) {
        self.phase().is_careful = is_careful;
    }

    fn request(&self) {
        let is_first = !self.token.is_cancelled();
        self.token.cancel();
        let phase = self.phase();
        if is_first && phase.is_careful {
            return stderr::line_of_its_own(
                "stopping: what is under way is finished first; press Ctrl-C again to end at once",
            );
        }
        stderr::line_of_its_own(format_args!("stopped; {}", phase.advice));
        new_file::remove_unfinished();
        Exit::Interrupted.end_process();
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
