//! Which address a node may give out next.
