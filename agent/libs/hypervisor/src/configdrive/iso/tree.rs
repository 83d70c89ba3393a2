//! What goes into an image: directories, names and contents.

use super::IsoError;

/// Longest name Joliet allows, in characters.
const NAME_MAX: usize = 64;

/// A directory tree. Directory 0 is the root.
#[derive(Debug, Default)]
pub struct Tree {
    directories: Vec<Directory>,
    contents: Vec<Vec<u8>>,
}

/// One directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) name: String,
    /// Index of the directory above; the root is its own parent.
    pub(super) parent: usize,
    /// Sorted by name.
    pub(super) entries: Vec<Entry>,
}

/// One name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) node: Node,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    /// Index into the directories.
    Directory(usize),
    /// Index into the contents.
    File(usize),
}

impl Tree {
    /// A tree with an empty root.
    pub fn new() -> Self {
        Self { directories: vec![Directory::default()], contents: Vec::new() }
    }

    /// Adds a file; missing directories on its way are made.
    ///
    /// # Errors
    /// [`IsoError::Name`] for a name the formats cannot hold alike, [`IsoError::Duplicate`] for a path in use.
    pub fn add_file(&mut self, path: &[&str], content: Vec<u8>) -> Result<(), IsoError> {
        let Some((name, parents)) = path.split_last() else {
            return Err(IsoError::Name(String::new()));
        };
        let mut directory = 0;
        for part in parents {
            directory = self.directory_in(directory, part)?;
        }
        let content = self.content(content);
        self.add_entry(directory, name, Node::File(content))
    }

    pub(super) fn directories(&self) -> &[Directory] {
        &self.directories
    }

    pub(super) fn contents(&self) -> &[Vec<u8>] {
        &self.contents
    }

    fn directory_in(&mut self, parent: usize, name: &str) -> Result<usize, IsoError> {
        let found = self.directories.get(parent).and_then(|directory| {
            directory.entries.iter().find(|entry| entry.name == name).map(|entry| entry.node)
        });
        match found {
            Some(Node::Directory(index)) => Ok(index),
            Some(Node::File(_)) => Err(IsoError::Duplicate(name.to_owned())),
            None => {
                let index = self.directories.len();
                self.add_entry(parent, name, Node::Directory(index))?;
                self.directories.push(Directory { name: name.to_owned(), parent, entries: Vec::new() });
                Ok(index)
            }
        }
    }

    fn add_entry(&mut self, directory: usize, name: &str, node: Node) -> Result<(), IsoError> {
        let fits = (1..=NAME_MAX).contains(&name.len()) && name != "." && name != "..";
        if !fits || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(IsoError::Name(name.to_owned()));
        }
        let Some(directory) = self.directories.get_mut(directory) else {
            return Err(IsoError::Name(name.to_owned()));
        };
        match directory.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            Ok(_) => Err(IsoError::Duplicate(name.to_owned())),
            Err(position) => {
                directory.entries.insert(position, Entry { name: name.to_owned(), node });
                Ok(())
            }
        }
    }

    fn content(&mut self, content: Vec<u8>) -> usize {
        self.contents.iter().position(|known| *known == content).unwrap_or_else(|| {
            self.contents.push(content);
            self.contents.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_two_name_trees_cannot_hold_alike() {
        let mut tree = Tree::new();
        tree.add_file(&["dir", "file"], vec![]).unwrap();
        for bad in ["", "..", "a/b", "ä", "a;1", &"x".repeat(65)] {
            assert_eq!(tree.add_file(&["dir", bad], vec![]), Err(IsoError::Name(bad.to_owned())), "{bad}");
        }
        assert_eq!(tree.add_file(&["dir", "file"], vec![]), Err(IsoError::Duplicate("file".into())));
        assert_eq!(tree.add_file(&["dir", "file", "x"], vec![]), Err(IsoError::Duplicate("file".into())));
    }
}
