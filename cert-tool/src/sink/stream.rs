//! [`Stream`]: everything appended to one file, or to one for certificates and one for keys. A
//! reference is `file#offset`, where the PEM begins, whatever stands around it.

use std::fs::File;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::fs;
use crate::issuing::Made;
use crate::sink::{CERTIFICATE, CHAIN, Contents, Extras, KEY, Place, Sink, folder_name};

/// Files that grow.
pub(crate) struct Stream {
    sink: Sink,
    extras: Extras,
    main: Appended,
    /// Keys are in a file of their own, so that the certificates can be handed on.
    keys: Option<Appended>,
}

/// What is to be appended.
pub(crate) struct Bytes {
    main: Zeroizing<Vec<u8>>,
    /// How much of `main` stays when more is appended.
    main_length: usize,
    keys: Zeroizing<Vec<u8>>,
}

impl Stream {
    pub(crate) fn open(folder: &Path, sink: Sink, extras: Extras, contents: Contents) -> Result<Self, Error> {
        let open = |name| Appended::open(folder.join(name), contents);
        let (main, keys) = match sink {
            Sink::Csv => (open(CSV)?, None),
            Sink::Tar => (open(TAR)?, None),
            _ => (open(CERTIFICATES)?, Some(open(KEYS)?)),
        };
        let mut stream = Self { sink, extras, main, keys };
        match sink {
            Sink::Csv if stream.main.length == 0 => stream.main.append(CSV_HEADER, CSV_HEADER.len())?,
            // What ends the archive goes when something is appended.
            Sink::Tar => stream.main.forget_zeros(TAR_END)?,
            _ => {}
        }
        Ok(stream)
    }

    pub(crate) fn encode(&self, made: &[Made]) -> Result<(Vec<Place>, Bytes), Error> {
        match self.sink {
            Sink::Csv => Ok(self.encode_csv(made)),
            Sink::Tar => self.encode_tar(made).map_err(Error::io("write", &self.main.path)),
            _ => Ok(self.encode_bundle(made)),
        }
    }

    pub(crate) fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        if let Some(keys) = &mut self.keys {
            keys.append(&bytes.keys, bytes.keys.len())?;
        }
        self.main.append(&bytes.main, bytes.main_length)
    }

    pub(crate) fn cut(&mut self, places: &[Place]) -> Result<(), Error> {
        if let Some(first) = places.first() {
            self.main.cut(first.entry)?;
        }
        match (&mut self.keys, places.iter().find_map(|place| place.private_key)) {
            (Some(keys), Some(first)) => keys.cut(first),
            _ => Ok(()),
        }
    }

    fn chain(&self) -> &[u8] {
        if self.extras.with_chain { &self.extras.issuing_pem } else { &[] }
    }

    fn encode_bundle(&self, made: &[Made]) -> (Vec<Place>, Bytes) {
        let (chain, keys_at) = (self.chain(), self.keys.as_ref().map_or(0, |keys| keys.length));
        let room = made.iter().map(|made| made.certificate_pem.len() + chain.len()).sum();
        let mut main = Zeroizing::new(Vec::with_capacity(room));
        // Made to measure: growing would leave copies of private keys behind.
        let mut keys = Zeroizing::new(Vec::with_capacity(made.iter().map(Made::key_len).sum()));
        let mut place = |made: &Made| {
            let certificate = self.main.length + main.len() as u64;
            main.extend_from_slice(&made.certificate_pem);
            main.extend_from_slice(chain);
            let private_key = made.key_pem.as_ref().map(|pem| {
                let at = keys_at + keys.len() as u64;
                keys.extend_from_slice(pem);
                at
            });
            Place { entry: certificate, certificate, private_key, list: 0 }
        };
        let places = made.iter().map(&mut place).collect();
        (places, Bytes { main_length: main.len(), main, keys })
    }

    fn encode_csv(&self, made: &[Made]) -> (Vec<Place>, Bytes) {
        let chain = self.chain();
        let room = |made: &Made| {
            made.common_name.len() + made.certificate_pem.len() + chain.len() + made.key_len() + 16
        };
        let mut main = Zeroizing::new(Vec::with_capacity(made.iter().map(room).sum()));
        let mut place = |made: &Made| {
            let start = self.main.length;
            let entry = start + main.len() as u64;
            // Ids have no quotes in them.
            for id in [Some(made.identity.device().as_str()), made.identity.module().map(|id| id.as_str())] {
                let quote: &[u8] = if id.is_some_and(|id| id.contains(',')) { b"\"" } else { b"" };
                main.extend_from_slice(quote);
                main.extend_from_slice(id.unwrap_or_default().as_bytes());
                main.extend_from_slice(quote);
                main.push(b',');
            }
            main.push(b'"');
            let certificate = start + main.len() as u64;
            main.extend_from_slice(&made.certificate_pem);
            main.extend_from_slice(chain);
            main.extend_from_slice(b"\",");
            let private_key = made.key_pem.as_ref().map(|pem| {
                main.push(b'"');
                let at = start + main.len() as u64;
                main.extend_from_slice(pem);
                main.push(b'"');
                at
            });
            main.push(b'\n');
            Place { entry, certificate, private_key, list: 0 }
        };
        let places = made.iter().map(&mut place).collect();
        (places, Bytes { main_length: main.len(), main, keys: Zeroizing::default() })
    }

    fn encode_tar(&self, made: &[Made]) -> std::io::Result<(Vec<Place>, Bytes)> {
        // Three files with a header each, padded, and long names in blocks of their own.
        let room = |made: &Made| {
            2 * made.certificate_pem.len() + self.extras.issuing_pem.len() + made.key_len() + 3 * 4 * 512
        };
        let mut archive = Archive::new(made.iter().map(room).sum::<usize>() + TAR_END);
        let mut places = Vec::with_capacity(made.len());
        for made in made {
            let folder = folder_name(&made.identity);
            let time = made.validity.not_before.unix_timestamp();
            let mut add = |name: &str, bytes: &[u8]| {
                archive.add(&format!("{folder}/{name}"), bytes, time).map(|at| self.main.length + at as u64)
            };
            let key = made.key_pem.as_ref().map(|pem| add(KEY, pem)).transpose()?;
            if self.extras.with_chain {
                add(CHAIN, &[&made.certificate_pem, self.extras.issuing_pem.as_slice()].concat())?;
            }
            let certificate = add(CERTIFICATE, &made.certificate_pem)?;
            let end = self.main.length + archive.bytes.len() as u64;
            places.push(Place { entry: end, certificate, private_key: key, list: 0 });
        }
        // So far `entry` is where each one ends, which is where the next one begins.
        let mut start = self.main.length;
        for place in &mut places {
            start = std::mem::replace(&mut place.entry, start);
        }
        let main_length = archive.bytes.len();
        Ok((places, Bytes { main: archive.finish()?, main_length, keys: Zeroizing::default() }))
    }
}

/// A tar archive in memory.
struct Archive {
    bytes: Zeroizing<Vec<u8>>,
}

impl Archive {
    fn new(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)) }
    }

    /// Adds a private file and returns where its bytes begin.
    fn add(&mut self, name: &str, bytes: &[u8], time: i64) -> std::io::Result<usize> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(time).unwrap_or_default());
        let mut builder = tar::Builder::new(&mut *self.bytes);
        builder.append_data(&mut header, name, bytes)?;
        builder.finish()?;
        drop(builder);
        let length = self.bytes.len() - TAR_END;
        self.bytes.truncate(length);
        Ok(length - bytes.len().next_multiple_of(TAR_BLOCK))
    }

    fn finish(mut self) -> std::io::Result<Zeroizing<Vec<u8>>> {
        let mut builder = tar::Builder::new(&mut *self.bytes);
        builder.finish()?;
        drop(builder);
        Ok(self.bytes)
    }
}

/// A private file that grows.
struct Appended {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Appended {
    fn open(path: PathBuf, contents: Contents) -> Result<Self, Error> {
        contents.check(&path)?;
        let file = fs::open_private(&path)?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { path, file, length })
    }

    /// Appends bytes, of which the first `length` stay.
    fn append(&mut self, bytes: &[u8], length: usize) -> Result<(), Error> {
        fs::append_at(&self.file, &self.path, self.length, bytes)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.length += length as u64;
        Ok(())
    }

    fn cut(&mut self, length: u64) -> Result<(), Error> {
        fs::cut(&self.file, &self.path, length)?;
        self.length = self.file.metadata().map_err(Error::io("read", &self.path))?.len();
        Ok(())
    }

    /// Has the next append overwrite the last bytes, if there are so many and all are zero.
    fn forget_zeros(&mut self, count: usize) -> Result<(), Error> {
        let start = self.length.saturating_sub(count as u64);
        let found = fs::read_at(&self.file, &self.path, start, count)?;
        if found.len() == count && found.iter().all(|byte| *byte == 0) {
            self.length = start;
        }
        Ok(())
    }
}

pub(crate) const CERTIFICATES: &str = "certificates.pem";
pub(crate) const KEYS: &str = "private-keys.pem";
pub(crate) const CSV: &str = "pem.csv";
pub(crate) const TAR: &str = "certificates.tar";
const CSV_HEADER: &[u8] = b"device_id,module_id,certificate_pem,private_key_pem\n";
const TAR_BLOCK: usize = 512;
/// Two empty blocks.
const TAR_END: usize = 2 * TAR_BLOCK;
