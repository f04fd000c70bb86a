//! The operator's socket: HTTP and JSON.
