//! Connections that end before anything is asked for on them: each is in the log, with a reason.
