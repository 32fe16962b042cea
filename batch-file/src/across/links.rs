//! [`Links`]: the parent of each device, stored in files if there are many.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};

use hub_types::DeviceId;

use crate::across::spill::PARTS;
use crate::across::table::Key;

/// A device and its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) child: Key,
    pub(crate) parent: Key,
    /// The line of the device.
    pub(crate) line: u32,
    /// The parent, as the device names it.
    pub(crate) named: DeviceId,
}

/// Links, in memory as long as they are few, otherwise in files.
#[derive(Default)]
pub(crate) struct Links {
    recent: Vec<Link>,
    files: Option<Files>,
    count: u64,
}

/// The links by the keys of their parents, and the keys of the children by themselves. Equal keys
/// are in files with the same number.
struct Files {
    links: Vec<BufWriter<File>>,
    children: Vec<BufWriter<File>>,
}

impl Links {
    pub(crate) fn push(&mut self, link: Link) -> io::Result<()> {
        self.count += 1;
        if let Some(files) = &mut self.files {
            return files.write(&link);
        }
        self.recent.push(link);
        if self.recent.len() >= MAX_IN_MEMORY {
            let mut files = Files::new()?;
            self.recent.drain(..).try_for_each(|link| files.write(&link))?;
            self.files = Some(files);
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// All links, as long as they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&[Link]> {
        self.files.is_none().then_some(&self.recent)
    }

    /// The parents in a part, each with its first child.
    pub(crate) fn parents(&mut self, part: usize) -> io::Result<HashMap<Key, Link>> {
        let mut parents: HashMap<Key, Link> = HashMap::new();
        // Links come in the order of their lines.
        self.each(part, |link| {
            parents.entry(link.parent).or_insert(link);
            Ok(())
        })?;
        Ok(parents)
    }

    /// Passes the links whose parents are in a part to `visit`.
    pub(crate) fn each(
        &mut self,
        part: usize,
        mut visit: impl FnMut(Link) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(files) = &mut self.files else {
            let mut in_part = self.recent.iter().filter(|link| link.parent.part(PARTS) == part);
            return in_part.try_for_each(|link| visit(link.clone()));
        };
        let Some(file) = files.links.get_mut(part) else { return Ok(()) };
        let mut file = reopened(file)?;
        while let Some(link) = Link::read(&mut file)? {
            visit(link)?;
        }
        Ok(())
    }

    /// The children in a part.
    pub(crate) fn children(&mut self, part: usize) -> io::Result<HashSet<Key>> {
        let Some(files) = &mut self.files else {
            let keys = self.recent.iter().map(|link| link.child);
            return Ok(keys.filter(|child| child.part(PARTS) == part).collect());
        };
        let mut children = HashSet::new();
        let Some(file) = files.children.get_mut(part) else { return Ok(children) };
        let mut file = reopened(file)?;
        let mut key = [0; KEY_BYTES];
        while is_read(&mut file, &mut key)? {
            children.insert(Key::from_bytes(key));
        }
        Ok(children)
    }
}

impl Files {
    fn new() -> io::Result<Self> {
        let files = || {
            let file = || Ok(BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile()?));
            std::iter::repeat_with(file).take(PARTS).collect::<io::Result<Vec<_>>>()
        };
        Ok(Self { links: files()?, children: files()? })
    }

    fn write(&mut self, link: &Link) -> io::Result<()> {
        if let Some(file) = self.links.get_mut(link.parent.part(PARTS)) {
            link.write(file)?;
        }
        match self.children.get_mut(link.child.part(PARTS)) {
            Some(file) => file.write_all(&link.child.to_bytes()),
            None => Ok(()),
        }
    }
}

impl Link {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let name = self.named.as_str().as_bytes();
        out.write_all(&self.child.to_bytes())?;
        out.write_all(&self.parent.to_bytes())?;
        out.write_all(&self.line.to_le_bytes())?;
        // A device id has at most 128 characters, all of them ASCII.
        out.write_all(&[u8::try_from(name.len()).map_err(|_| ErrorKind::InvalidData)?])?;
        out.write_all(name)
    }

    fn read(file: &mut impl Read) -> io::Result<Option<Self>> {
        let (mut child, mut parent, mut line, mut length) = ([0; KEY_BYTES], [0; KEY_BYTES], [0; 4], [0; 1]);
        if !is_read(file, &mut child)? {
            return Ok(None);
        }
        file.read_exact(&mut parent)?;
        file.read_exact(&mut line)?;
        file.read_exact(&mut length)?;
        let mut name = vec![0; usize::from(u8::from_le_bytes(length))];
        file.read_exact(&mut name)?;
        let name = str::from_utf8(&name).map_err(|_| ErrorKind::InvalidData)?;
        Ok(Some(Self {
            child: Key::from_bytes(child),
            parent: Key::from_bytes(parent),
            line: u32::from_le_bytes(line),
            named: DeviceId::new(name).map_err(|_| ErrorKind::InvalidData)?,
        }))
    }
}

/// Fills a buffer; false at the end of the file.
fn is_read(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Returns a reader of what was written to a file, from its beginning.
fn reopened(file: &mut BufWriter<File>) -> io::Result<BufReader<&File>> {
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(BufReader::new(file.get_ref()))
}

/// Some 5 MB of links.
pub(crate) const MAX_IN_MEMORY: usize = 1 << 16;
const KEY_BYTES: usize = 10;
const BUFFER_BYTES: usize = 2048;
