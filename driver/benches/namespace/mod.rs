//! Where benches that ask the kernel run: a network namespace of their own.

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::runtime::Runtime;

/// Moves this thread into a new network namespace, with a runtime; says why not where that cannot be.
pub(crate) fn enter() -> Option<Runtime> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: making network namespaces needs root");
        return None;
    }
    // SAFETY: only FILES, which is not asked for, affects other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may make a network namespace");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Some(runtime.expect("a runtime needs nothing that could be missing"))
}
