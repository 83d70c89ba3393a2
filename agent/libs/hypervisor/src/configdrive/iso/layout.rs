//! Where everything lies, path tables and directory contents.

use chrono::{DateTime, Utc};

use super::records::{Extent, Names, Role, encode_name, record};
use super::tree::{Directory, Entry, Node, Tree};
use super::{IsoError, SECTOR, sectors};

/// First sector after the system area and the four volume descriptors.
const FIRST_FREE: u32 = 16 + super::descriptors::COUNT;

/// Extents of everything in an image.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) rock_ridge: Side,
    pub(super) joliet: Side,
    contents: Vec<Extent>,
    /// Sectors of the whole image.
    pub(super) total: u32,
}

/// One name tree.
#[derive(Debug)]
pub(super) struct Side {
    names: Names,
    directories: Vec<Extent>,
    /// Bytes of one path table.
    pub(super) table_length: u32,
    /// Sector of the little-endian path table.
    pub(super) table_le: u32,
    /// Sector of the big-endian path table.
    pub(super) table_be: u32,
}

impl Layout {
    pub(super) fn plan(tree: &Tree) -> Result<Self, IsoError> {
        let mut next = FIRST_FREE;
        let mut rock_ridge = Side::with_tables(tree, Names::RockRidge, &mut next)?;
        let mut joliet = Side::with_tables(tree, Names::Joliet, &mut next)?;
        rock_ridge.place_directories(tree, &mut next)?;
        joliet.place_directories(tree, &mut next)?;
        let contents = tree
            .contents()
            .iter()
            .map(|content| place(content.len(), &mut next))
            .collect::<Result<_, _>>()?;
        Ok(Self { rock_ridge, joliet, contents, total: next })
    }

    /// The four path tables, in sector order.
    pub(super) fn path_tables(&self, tree: &Tree) -> Vec<Vec<u8>> {
        [&self.rock_ridge, &self.joliet]
            .into_iter()
            .flat_map(|side| {
                [
                    side.path_table(tree, u32::to_le_bytes, u16::to_le_bytes),
                    side.path_table(tree, u32::to_be_bytes, u16::to_be_bytes),
                ]
            })
            .collect()
    }

    /// The contents of all directories of both trees, in sector order.
    pub(super) fn directories(&self, tree: &Tree, made_at: DateTime<Utc>) -> Result<Vec<Vec<u8>>, IsoError> {
        let mut all = Vec::new();
        for side in [&self.rock_ridge, &self.joliet] {
            for (index, directory) in tree.directories().iter().enumerate() {
                all.push(side.directory(index, directory, &self.contents, made_at)?);
            }
        }
        Ok(all)
    }
}

impl Side {
    fn with_tables(tree: &Tree, names: Names, next: &mut u32) -> Result<Self, IsoError> {
        let mut side = Self {
            names,
            directories: vec![Extent::default(); tree.directories().len()],
            table_length: 0,
            table_le: 0,
            table_be: 0,
        };
        let bytes = side.path_table(tree, u32::to_le_bytes, u16::to_le_bytes).len();
        let first = place(bytes, next)?;
        side.table_length = first.length;
        side.table_le = first.start;
        side.table_be = place(bytes, next)?.start;
        Ok(side)
    }

    /// Directory sizes depend on names only, so they can be measured before any extent is known.
    fn place_directories(&mut self, tree: &Tree, next: &mut u32) -> Result<(), IsoError> {
        let mut placed = Vec::with_capacity(self.directories.len());
        for (index, directory) in tree.directories().iter().enumerate() {
            let bytes = self.directory(index, directory, &[], DateTime::UNIX_EPOCH)?.len();
            placed.push(place(bytes, next)?);
        }
        self.directories = placed;
        Ok(())
    }

    /// The extent of the root directory.
    pub(super) fn root(&self) -> Extent {
        self.extent(0)
    }

    fn extent(&self, directory: usize) -> Extent {
        self.directories.get(directory).copied().unwrap_or_default()
    }

    fn directory(
        &self,
        index: usize,
        directory: &Directory,
        contents: &[Extent],
        made_at: DateTime<Utc>,
    ) -> Result<Vec<u8>, IsoError> {
        let own = if index == 0 { Role::RootSelf } else { Role::SelfRecord };
        let mut bytes = record(own, self.extent(index), self.names, made_at);
        bytes.extend(record(Role::Parent, self.extent(directory.parent), self.names, made_at));
        for Entry { name, node } in &directory.entries {
            let extent = match node {
                Node::Directory(index) => self.extent(*index),
                Node::File(index) => contents.get(*index).copied().unwrap_or_default(),
            };
            let next = record(Role::Named(name, *node), extent, self.names, made_at);
            // A record never crosses a sector boundary.
            if bytes.len() % SECTOR + next.len() > SECTOR {
                bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
            }
            bytes.extend(next);
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        sectors(bytes.len())?;
        Ok(bytes)
    }

    /// One path table with the given byte order. Directories are numbered from 1, level by level.
    fn path_table(&self, tree: &Tree, long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let order = breadth_first(tree);
        let number = |directory: usize| {
            let position = order.iter().position(|known| *known == directory).unwrap_or(0);
            u16::try_from(position + 1).unwrap_or(u16::MAX)
        };
        let mut table = Vec::new();
        for index in &order {
            let Some(directory) = tree.directories().get(*index) else { continue };
            let name = if *index == 0 { vec![0] } else { encode_name(&directory.name, self.names) };
            table.extend([u8::try_from(name.len()).unwrap_or(u8::MAX), 0]);
            table.extend(long(self.extent(*index).start));
            table.extend(short(number(directory.parent)));
            table.extend(&name);
            if name.len() % 2 == 1 {
                table.push(0);
            }
        }
        table
    }
}

/// Takes the next free sectors for `bytes` bytes; an empty file takes none.
fn place(bytes: usize, next: &mut u32) -> Result<Extent, IsoError> {
    let extent = Extent { start: *next, length: u32::try_from(bytes).map_err(|_| IsoError::TooLarge)? };
    *next = next.checked_add(sectors(bytes)?).ok_or(IsoError::TooLarge)?;
    Ok(extent)
}

/// Directory indices, parents before children, siblings by name.
fn breadth_first(tree: &Tree) -> Vec<usize> {
    let mut order = vec![0];
    let mut done = 0;
    while let Some(directory) = order.get(done).and_then(|index| tree.directories().get(*index)) {
        for entry in &directory.entries {
            if let Node::Directory(index) = entry.node {
                order.push(index);
            }
        }
        done += 1;
    }
    order
}
