//! A root file system in memory.

use std::collections::{BTreeMap, VecDeque};

use super::path::RootPath;
use super::spool::Blob;

/// How many symbolic links a path may pass: Linux's limit.
const MAX_LINKS: u32 = 40;

/// Owner, permissions and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Those of [`XATTRS`](super::XATTRS) that are set.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a walk over a tree meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A directory; what it holds follows.
    Directory(Attributes),
    /// A file, at the first of its names.
    File(Attributes, Blob),
    /// A further name of the file that was met as the given path.
    Hardlink(RootPath),
    /// A symbolic link.
    Symlink(Attributes, String),
}

/// Why a path does not lead where it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A link's `..` climbs above the root.
    #[error("the symbolic link `{0}` leads out of the root")]
    Escapes(String),
    /// Links in a circle.
    #[error("more than {MAX_LINKS} symbolic links in one path")]
    Loop,
    /// A component is a file.
    #[error("`{0}` on the way is no directory")]
    NotDirectory(String),
    /// Nothing has that name.
    #[error("`{0}` does not exist")]
    Missing(String),
}

/// An index into [`Tree::nodes`].
pub(super) type NodeId = usize;
pub(super) const ROOT: NodeId = 0;

/// A directory's entry. The layer belongs to the name, not to what it names: that is what whiteouts ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) node: NodeId,
    pub(super) layer: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Directory { attributes: Attributes, names: BTreeMap<String, Name> },
    File { attributes: Attributes, blob: Blob },
    Symlink { attributes: Attributes, target: String },
}

/// Directories, files and links below one root.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![directory(0o755)] }
    }
}

fn directory(mode: u32) -> Node {
    Node::Directory { attributes: Attributes { mode, ..Attributes::default() }, names: BTreeMap::new() }
}

/// Where the components of a path that is being resolved came from.
enum Origin {
    Path,
    Link,
}

impl Tree {
    /// An empty root.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn names(&self, id: NodeId) -> Option<&BTreeMap<String, Name>> {
        match &self.nodes[id] {
            Node::Directory { names, .. } => Some(names),
            _ => None,
        }
    }

    pub(super) fn names_mut(&mut self, id: NodeId) -> &mut BTreeMap<String, Name> {
        match &mut self.nodes[id] {
            Node::Directory { names, .. } => names,
            _ => unreachable!("only directories are looked into"),
        }
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Finds the directory at `path`, following links as a process with this root would, except that a link must
    /// not try to climb above the root. With `make`, directories of the path itself that are missing are made for
    /// that layer; where a link leads must exist.
    pub(super) fn directory(
        &mut self,
        path: Option<&RootPath>,
        make: Option<usize>,
    ) -> Result<NodeId, TreeError> {
        let mut stack = vec![ROOT];
        let mut todo: VecDeque<(String, Origin)> =
            path.iter().flat_map(|p| p.components()).map(|c| (c.to_owned(), Origin::Path)).collect();
        let mut links = 0;
        while let Some((component, origin)) = todo.pop_front() {
            let here = *stack.last().expect("the root stays on the stack");
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    stack.pop();
                    if stack.is_empty() {
                        return Err(TreeError::Escapes(path.map(ToString::to_string).unwrap_or_default()));
                    }
                    continue;
                }
                _ => {}
            }
            let found = self.names(here).and_then(|names| names.get(&component)).map(|name| name.node);
            let next = match (found, &origin, make) {
                (Some(node), ..) => node,
                (None, Origin::Path, Some(layer)) => {
                    let node = self.add(directory(0o755));
                    self.names_mut(here).insert(component.clone(), Name { node, layer });
                    node
                }
                (None, ..) => return Err(TreeError::Missing(component)),
            };
            match &self.nodes[next] {
                Node::Directory { .. } => stack.push(next),
                Node::File { .. } => return Err(TreeError::NotDirectory(component)),
                Node::Symlink { target, .. } => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(TreeError::Loop);
                    }
                    if target.starts_with('/') {
                        stack.truncate(1);
                    }
                    let parts: Vec<_> = target.split('/').map(|c| (c.to_owned(), Origin::Link)).collect();
                    for part in parts.into_iter().rev() {
                        todo.push_front(part);
                    }
                }
            }
        }
        Ok(*stack.last().expect("the root stays on the stack"))
    }

    /// The file at `path`, its last component's links followed too.
    ///
    /// # Errors
    /// When the path leads nowhere, out of the root, or to no file.
    pub fn file(&mut self, path: &RootPath) -> Result<(Attributes, Blob), TreeError> {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            let parent = self.directory(path.parent().as_ref(), None)?;
            let missing = || TreeError::Missing(path.to_string());
            let names = self.names(parent).expect("directory() gives directories");
            match &self.nodes[names.get(path.name()).ok_or_else(missing)?.node] {
                Node::File { attributes, blob } => return Ok((attributes.clone(), *blob)),
                Node::Directory { .. } => return Err(missing()),
                Node::Symlink { target, .. } => {
                    let joined = match (target.strip_prefix('/'), path.parent()) {
                        (None, Some(parent)) => format!("{parent}/{target}"),
                        (Some(target), _) => target.to_owned(),
                        (None, None) => target.clone(),
                    };
                    path = plain(&joined).ok_or_else(|| TreeError::Escapes(path.to_string()))?;
                }
            }
        }
        Err(TreeError::Loop)
    }

    /// Makes the directory at `path` with mode 0755, or leaves what is there when that is a directory.
    ///
    /// # Errors
    /// When a file is in the way or a link leads nowhere.
    pub fn make_directory(&mut self, path: &RootPath) -> Result<(), TreeError> {
        self.directory(Some(path), Some(0)).map(|_| ())
    }

    /// Puts a file at `path`, in place of a file or link that is there.
    ///
    /// # Errors
    /// When the path's parents cannot be made, or a directory is in the way.
    pub fn put_file(&mut self, path: &RootPath, attributes: Attributes, blob: Blob) -> Result<(), TreeError> {
        let parent = self.directory(path.parent().as_ref(), Some(0))?;
        if let Some(name) = self.names(parent).and_then(|names| names.get(path.name()))
            && matches!(self.nodes[name.node], Node::Directory { .. })
        {
            return Err(TreeError::NotDirectory(path.to_string()));
        }
        let node = self.add(Node::File { attributes, blob });
        self.names_mut(parent).insert(path.name().to_owned(), Name { node, layer: 0 });
        Ok(())
    }

    /// Everything below the root in the order of [`RootPath`]: a directory, then what it holds.
    ///
    /// # Errors
    /// With the path when it is too long once it is joined, which links can bring about.
    pub fn items(&self) -> Result<Vec<(RootPath, Item)>, super::PathError> {
        let mut items = Vec::new();
        let mut first: BTreeMap<NodeId, RootPath> = BTreeMap::new();
        // The names of directories that are not yet walked to their end.
        let root = self.names(ROOT).expect("the root is a directory");
        let mut stack = vec![(None::<RootPath>, root.iter())];
        while let Some((above, names)) = stack.last_mut() {
            let Some((name, entry)) = names.next() else {
                stack.pop();
                continue;
            };
            let path = match above {
                Some(above) => above.join(name)?,
                None => name.parse()?,
            };
            let item = match &self.nodes[entry.node] {
                Node::Directory { attributes, names } => {
                    stack.push((Some(path.clone()), names.iter()));
                    Item::Directory(attributes.clone())
                }
                Node::Symlink { attributes, target } => Item::Symlink(attributes.clone(), target.clone()),
                Node::File { attributes, blob } => match first.get(&entry.node) {
                    Some(first) => Item::Hardlink(first.clone()),
                    None => {
                        first.insert(entry.node, path.clone());
                        Item::File(attributes.clone(), *blob)
                    }
                },
            };
            items.push((path, item));
        }
        Ok(items)
    }
}

/// `a/b/../c` to `a/c`, or nothing when it climbs too far. Right for targets whose parents are directories, which is
/// what the files that we read ourselves (`/etc/passwd`) have.
fn plain(path: &str) -> Option<RootPath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    parts.join("/").parse().ok()
}
