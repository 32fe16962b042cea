//! The limit of open files, which bounds the number of connections.

/// Raises the soft limit of open files to the hard limit. Logs a warning if that is too low for
/// many devices, each of which is an open file.
pub(crate) fn allow_many_connections() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < MANY_FILES => tracing::warn!(
            "this process may open {limit} files, and so serve about as many connections; more devices have to wait. \
             `ulimit -Hn` or, under systemd, `LimitNOFILE=` raises the limit"
        ),
        Ok(limit) => tracing::info!("this process may open {limit} files"),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}

/// The limit of open files below which a warning is logged: enough for ten thousand devices.
const MANY_FILES: u64 = 10_000;
