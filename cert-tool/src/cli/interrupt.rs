//! Ctrl-C: what is in flight is finished, and nothing new is begun. The second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cli_support::exit::Exit;

/// A flag that is set when the user wants to stop the program.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        // Where there can be no handler the process just ends, which a store survives.
        let _ = ctrlc::set_handler(move || {
            // Whoever asks twice does not want to wait for what is in flight. A store survives that too.
            if flag.0.swap(true, Ordering::Relaxed) {
                Exit::Interrupted.end_process();
            }
        });
        interrupt
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
