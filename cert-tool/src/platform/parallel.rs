//! [`in_parallel`]: work for many entries on all cores, in bounded memory and in any order.

use std::num::NonZeroUsize;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::Error;

/// The largest number of threads. More of them would wait for each other, and a system has only so many.
pub const MAX_THREADS: usize = 256;

/// The number of threads to start: `None` is one for each core.
pub(crate) fn thread_count(threads: Option<NonZeroUsize>) -> usize {
    let threads = threads.or_else(|| thread::available_parallelism().ok());
    threads.map_or(1, NonZeroUsize::get).min(MAX_THREADS)
}

/// Works on each entry and tells what came of it; the first error ends it. `None` threads are one for each
/// core.
pub(crate) fn in_parallel<T, R: Send>(
    threads: Option<NonZeroUsize>,
    entries: impl Iterator<Item = Result<T, Error>> + Send,
    work: impl Fn(T) -> Result<R, Error> + Sync,
    on_result: &mut dyn FnMut(R),
) -> Result<(), Error> {
    let threads = thread_count(threads);
    let entries = Mutex::new(entries);
    let next = || entries.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (sender, results) = sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(entry) = next() {
                    // Nobody listens once one has failed.
                    if sender.send(entry.and_then(work)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        results.into_iter().try_for_each(|result| result.map(&mut *on_result))
    })
}
