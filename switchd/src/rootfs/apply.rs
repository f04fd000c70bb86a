//! Applies layers to a tree (OCI image specification, layer.md).

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::path::{PathError, RootPath};
use super::spool::Spool;
use super::tree::{Attributes, Name, Node, NodeId, Tree, TreeError};
use crate::tar::{Entry, Limits, Reader, TarError};

/// How the name of a whiteout begins (layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The name that hides everything below it in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// A layer of an image, where names that begin with `.wh.` remove.
    Layer,
    /// A whole root file system (`docker export`), where they are names like any other.
    Flat,
}

/// A member that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// What it is.
    pub what: &'static str,
}

/// Why a layer cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive is damaged or too large.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A member's path is hostile or impossible.
    #[error("member `{member}`: {source}; the image is damaged or hostile")]
    Path {
        /// The member as written.
        member: String,
        /// Why.
        source: PathError,
    },
    /// A member's parent, or a hard link's target, cannot be found in what was applied before it.
    #[error("member `{member}`: {source}; the image is damaged or hostile")]
    Resolve {
        /// The member.
        member: String,
        /// Why.
        source: TreeError,
    },
    /// A hard link to a directory.
    #[error("member `{member}`: a hard link to the directory `{target}`")]
    LinkToDirectory {
        /// The member.
        member: String,
        /// The target as written.
        target: String,
    },
    /// A symbolic link's target is empty, too long or not UTF-8.
    #[error(
        "member `{member}`: the target of this symbolic link is empty, not UTF-8, or longer than 4,095 bytes"
    )]
    LinkTarget {
        /// The member.
        member: String,
    },
    /// The temporary file cannot be written.
    #[error("member `{member}`: writing its content to the temporary file: {source}; is there space?")]
    Spool {
        /// The member.
        member: String,
        /// Why.
        source: io::Error,
    },
}

/// Applies one layer after the other.
pub struct Layers<'a> {
    tree: Tree,
    spool: &'a mut Spool,
    layer: usize,
    limits: Limits,
    most_nodes: u64,
    skipped: Vec<Skipped>,
}

impl<'a> Layers<'a> {
    /// Begins with an empty root. The limits hold for all layers together.
    pub fn new(spool: &'a mut Spool, limits: Limits) -> Self {
        let most_nodes = limits.entries;
        Self { tree: Tree::new(), spool, layer: 0, limits, most_nodes, skipped: Vec::new() }
    }

    /// The result, and what was left out of it.
    pub fn finish(self) -> (Tree, Vec<Skipped>) {
        (self.tree, self.skipped)
    }

    /// Applies the next layer, uncompressed, and reads `archive` to its end, so that a digest over it is whole.
    ///
    /// # Errors
    /// When the layer is hostile or damaged; the tree is then of no use.
    pub fn apply(&mut self, archive: impl Read, flavour: Flavour) -> Result<(), ApplyError> {
        self.layer += 1;
        let mut reader = Reader::new(archive, self.limits);
        while let Some(entry) = reader.next()? {
            self.limits.entries -= 1;
            self.member(&entry, flavour, &mut reader)?;
            // Parents that no member names count as well: one long path makes many.
            if self.tree.nodes.len() as u64 > self.most_nodes + 1 {
                let limit = self.most_nodes;
                return Err(TarError::Limit {
                    what: "files and directories",
                    limit,
                    option: "--max-entries",
                }
                .into());
            }
        }
        let used = reader.position();
        let mut rest = reader.into_inner();
        let tail = io::copy(&mut rest.by_ref().take(self.limits.bytes - used + 1), &mut io::sink());
        let used = used + tail.map_err(|source| TarError::Io { at: used, source })?;
        self.limits.bytes = self.limits.bytes.checked_sub(used).ok_or(TarError::Limit {
            what: "bytes when unpacked",
            limit: self.limits.bytes,
            option: "--max-bytes",
        })?;
        Ok(())
    }

    fn member(
        &mut self,
        entry: &Entry,
        flavour: Flavour,
        reader: &mut Reader<impl Read>,
    ) -> Result<(), ApplyError> {
        let member = String::from_utf8_lossy(&entry.path).into_owned();
        let bad_path = |source| ApplyError::Path { member: member.clone(), source };
        let resolve = |source| ApplyError::Resolve { member: member.clone(), source };
        let Some(path) = RootPath::from_archive(&entry.path).map_err(bad_path)? else {
            // The root itself: its attributes are the bundle format's, not the image's.
            return Ok(());
        };
        if flavour == Flavour::Layer && path.name().starts_with(WHITEOUT) {
            return self.whiteout(&path, &member);
        }
        let mut attributes =
            Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, xattrs: entry.xattrs.clone() };
        attributes.xattrs.retain(|name, _| super::XATTRS.contains(&name.as_str()));

        // Everything that can be refused is, before anything is changed.
        let new = match entry.flag {
            b'0' | b'7' => {
                let blob = self.spool.add(reader).map_err(|e| match reader.unwrap_io(e) {
                    TarError::Io { source, .. } => ApplyError::Spool { member: member.clone(), source },
                    other => other.into(),
                })?;
                Some(Node::File { attributes, blob })
            }
            b'2' => {
                let target = str::from_utf8(&entry.link).ok();
                let fits = |t: &&str| !t.is_empty() && t.len() <= super::MAX_PATH && !t.contains('\0');
                let target =
                    target.filter(fits).ok_or_else(|| ApplyError::LinkTarget { member: member.clone() })?;
                attributes.mode = 0o777;
                Some(Node::Symlink { attributes, target: target.to_owned() })
            }
            b'5' => Some(Node::Directory { attributes, names: Default::default() }),
            b'1' => {
                let target = String::from_utf8_lossy(&entry.link).into_owned();
                let to_directory =
                    || ApplyError::LinkToDirectory { member: member.clone(), target: target.clone() };
                let path_of_target = RootPath::from_archive(&entry.link).map_err(bad_path)?;
                let path_of_target = path_of_target.ok_or_else(to_directory)?;
                let node = self.find(&path_of_target).map_err(resolve)?;
                if matches!(self.tree.nodes[node], Node::Directory { .. }) {
                    return Err(to_directory());
                }
                let parent = self.parent(&path).map_err(resolve)?;
                let name = Name { node, layer: self.layer };
                self.tree.names_mut(parent).insert(path.name().to_owned(), name);
                return Ok(());
            }
            flag => {
                let what = match flag {
                    b'3' => "character device",
                    b'4' => "block device",
                    _ => "fifo",
                };
                // The runtime makes what a container needs of /dev.
                self.skipped.push(Skipped { path: path.to_string(), what });
                None
            }
        };
        let parent = self.parent(&path).map_err(resolve)?;
        let old = self.tree.names(parent).and_then(|names| names.get(path.name())).map(|name| name.node);
        let node = match (new, old) {
            (None, _) => {
                self.tree.names_mut(parent).remove(path.name());
                return Ok(());
            }
            // A directory over a directory changes its attributes and keeps what it holds.
            (Some(Node::Directory { attributes: new, .. }), Some(id)) if self.tree.names(id).is_some() => {
                if let Node::Directory { attributes, .. } = &mut self.tree.nodes[id] {
                    *attributes = new;
                }
                id
            }
            (Some(new), _) => self.tree.add(new),
        };
        let name = Name { node, layer: self.layer };
        self.tree.names_mut(parent).insert(path.name().to_owned(), name);
        Ok(())
    }

    /// The directory that is to hold `path`; archives need not name every parent.
    fn parent(&mut self, path: &RootPath) -> Result<NodeId, TreeError> {
        self.tree.directory(path.parent().as_ref(), Some(self.layer))
    }

    /// What is at `path`, a link in the last place not followed.
    fn find(&mut self, path: &RootPath) -> Result<NodeId, TreeError> {
        let parent = self.tree.directory(path.parent().as_ref(), None)?;
        let name = self.tree.names(parent).and_then(|names| names.get(path.name()));
        name.map(|name| name.node).ok_or_else(|| TreeError::Missing(path.to_string()))
    }

    /// Removes what lower layers have; what this layer has stays, in whichever order its members come.
    fn whiteout(&mut self, path: &RootPath, member: &str) -> Result<(), ApplyError> {
        let directory = match self.tree.directory(path.parent().as_ref(), None) {
            Ok(id) => id,
            // Removing from what does not exist is no error: build tools write whiteouts for files that the same
            // build made and removed.
            Err(TreeError::Missing(_) | TreeError::NotDirectory(_)) => return Ok(()),
            Err(source) => return Err(ApplyError::Resolve { member: member.to_owned(), source }),
        };
        if path.name() == OPAQUE {
            self.purge(directory);
            return Ok(());
        }
        let hidden = &path.name()[WHITEOUT.len()..];
        // aufs keeps its own books under names that begin with `.wh..wh.`; they say nothing of the image.
        if hidden.starts_with(WHITEOUT) {
            return Ok(());
        }
        if let Err(source) = hidden.parse::<RootPath>() {
            return Err(ApplyError::Path { member: member.to_owned(), source });
        }
        let Some(name) = self.tree.names(directory).and_then(|names| names.get(hidden)).copied() else {
            return Ok(());
        };
        if self.tree.names(name.node).is_some() {
            self.purge(name.node);
        }
        if !self.keeps(name) {
            self.tree.names_mut(directory).remove(hidden);
        }
        Ok(())
    }

    /// Whether the current layer has that name, or something beneath it.
    fn keeps(&self, name: Name) -> bool {
        name.layer == self.layer || self.tree.names(name.node).is_some_and(|names| !names.is_empty())
    }

    /// Removes what lower layers put below a directory. Not by recursion: a path that goes through links can nest
    /// directories deeper than paths may be.
    fn purge(&mut self, directory: NodeId) {
        // First down, then back up: whether a directory goes depends on what is left in it.
        let mut order = vec![directory];
        let mut next = 0;
        while next < order.len() {
            let below = self.tree.names(order[next]).into_iter().flatten().map(|(_, name)| name.node);
            let directories: Vec<NodeId> = below.filter(|node| self.tree.names(*node).is_some()).collect();
            order.extend(directories);
            next += 1;
        }
        for directory in order.into_iter().rev() {
            let names = self.tree.names(directory).into_iter().flatten();
            let gone: BTreeSet<String> =
                names.filter(|(_, name)| !self.keeps(**name)).map(|(text, _)| text.clone()).collect();
            let names = self.tree.names_mut(directory);
            names.retain(|name, _| !gone.contains(name));
        }
    }
}

#[cfg(test)]
mod tests;
