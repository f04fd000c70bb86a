//! Flags, file and environment.
