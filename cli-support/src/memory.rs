//! Protection of the memory of a process that holds keys, beside wiping.

/// Keeps the memory of this process, with the keys in it, from being written to a core file or
/// piped to a collector of core dumps, and from being read by other processes of the same user.
///
/// The protection lasts for the rest of the process. On systems other than Unix there is nothing to
/// do.
pub fn keep_private() {
    // Where a system refuses, as some sandboxes do, there is nothing else that could be done.
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
