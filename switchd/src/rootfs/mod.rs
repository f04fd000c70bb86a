//! Root file systems as values: image layers are applied in memory, never on a disk.
//!
//! The names and attributes of an image are small; a [`Tree`] holds them, and file contents go into one temporary
//! file, the [`Spool`]. So an image's paths and links are resolved against the tree alone: there is nothing on the
//! packing machine that a hostile archive could reach, no root is needed to keep owners and setuid bits, and neither
//! the umask nor the file system beneath can change the result.

mod apply;
mod path;
mod spool;
mod tree;

pub use apply::{ApplyError, Flavour, Layers, Skipped};
pub use path::{MAX_DEPTH, MAX_NAME, MAX_PATH, PathError, RootPath};
pub(crate) use spool::Section;
pub use spool::{Blob, Spool};
pub use tree::{Attributes, Item, Tree, TreeError};

/// Extended attributes that are kept. The others are the packing host's business (SELinux labels, user notes) and
/// would make bundles differ between hosts.
pub const XATTRS: [&str; 1] = ["security.capability"];
