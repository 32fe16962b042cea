//! [`Stream`]: all output appended to one file, or to one for certificates and one for keys. A
//! location is `file#offset`, the offset of the PEM, whatever the format around it.

use std::fs::File;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::issued::new_certificate::NewCertificate;
use crate::issued::sink::{CERTIFICATE, CHAIN, Contents, Extras, KEY, Place, Sink, folder_name};
use crate::platform::fs;

/// Files that are appended to.
pub(crate) struct Stream {
    sink: Sink,
    extras: Extras,
    main: Appended,
    /// The file of the keys, separate so that the certificates can be passed on.
    keys: Option<Appended>,
}

/// A piece of an archive, which is prepared before it is written.
pub(crate) struct Archived {
    bytes: Zeroizing<Vec<u8>>,
    /// The number of its bytes that stay when more is appended.
    length: usize,
}

impl Stream {
    pub(crate) fn open(folder: &Path, sink: Sink, extras: Extras, contents: Contents) -> Result<Self, Error> {
        let open = |name| Appended::open(folder.join(name), contents, fs::open_private);
        let open_for_keys = |name| Appended::open(folder.join(name), contents, fs::open_for_keys);
        let (main, keys) = match sink {
            Sink::Csv => (open_for_keys(CSV)?, None),
            Sink::Tar => (open_for_keys(TAR)?, None),
            _ => (open(CERTIFICATES)?, Some(open_for_keys(KEYS)?)),
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

    /// The places of everything that will be written.
    pub(crate) fn places(&self, made: &[NewCertificate]) -> Result<(Vec<Place>, Option<Archived>), Error> {
        match self.sink {
            Sink::Csv => Ok((self.places_in_csv(made), None)),
            Sink::Tar => {
                let archived = self.archive(made).map_err(Error::io("write", &self.main.path));
                archived.map(|(places, archived)| (places, Some(archived)))
            }
            _ => Ok((self.places_in_bundle(made), None)),
        }
    }

    pub(crate) fn write(
        &mut self,
        made: &[NewCertificate],
        archived: Option<&Archived>,
    ) -> Result<(), Error> {
        if let Some(Archived { bytes, length }) = archived {
            return self.main.append(bytes, *length);
        }
        let chain: &[u8] = if self.extras.with_chain { &self.extras.chain_pem } else { &[] };
        if let Some(keys) = &mut self.keys {
            keys.append_pieces(
                made.iter().filter_map(|made| made.key_pem.as_ref()).map(|pem| pem.as_slice()),
            )?;
            return self.main.append_pieces(made.iter().flat_map(|made| [&made.certificate_pem, chain]));
        }
        self.main.append_pieces(made.iter().flat_map(|made| CsvRow::of(made, chain).pieces()))
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
        if self.extras.with_chain { &self.extras.chain_pem } else { &[] }
    }

    fn places_in_bundle(&self, made: &[NewCertificate]) -> Vec<Place> {
        let mut at = self.main.length;
        let mut key_at = self.keys.as_ref().map_or(0, |keys| keys.length);
        let place = |made: &NewCertificate| {
            let private_key = made.key_pem.as_ref().map(|_| key_at);
            let place = Place { entry: at, certificate: at, private_key, list: 0 };
            at += (made.certificate_pem.len() + self.chain().len()) as u64;
            key_at += made.key_len() as u64;
            place
        };
        made.iter().map(place).collect()
    }

    fn places_in_csv(&self, made: &[NewCertificate]) -> Vec<Place> {
        let mut at = self.main.length;
        let place = |made: &NewCertificate| {
            let row = CsvRow::of(made, self.chain());
            let certificate = at + length(&row.ids);
            let [quote, ..] = row.key;
            let key = certificate + length(&row.certificate) + quote.len() as u64;
            let private_key = made.key_pem.as_ref().map(|_| key);
            let place = Place { entry: at, certificate, private_key, list: 0 };
            at = certificate + length(&row.certificate) + length(&row.key);
            place
        };
        made.iter().map(place).collect()
    }

    fn archive(&self, made: &[NewCertificate]) -> std::io::Result<(Vec<Place>, Archived)> {
        // Three files with a header each, padded, and long names in blocks of their own.
        let room = |made: &NewCertificate| {
            2 * made.certificate_pem.len() + self.extras.chain_pem.len() + made.key_len() + 3 * 4 * 512
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
                add(CHAIN, &[&made.certificate_pem, self.extras.chain_pem.as_slice()].concat())?;
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
        let length = archive.bytes.len();
        Ok((places, Archived { bytes: archive.finish()?, length }))
    }
}

/// A row of the CSV file, in pieces.
struct CsvRow<'a> {
    ids: [&'a [u8]; 8],
    certificate: [&'a [u8]; 3],
    key: [&'a [u8]; 4],
}

impl<'a> CsvRow<'a> {
    fn of(made: &'a NewCertificate, chain: &'a [u8]) -> Self {
        let device = made.identity.device().as_str();
        let module = made.identity.module().map_or("", |module| module.as_str());
        // Ids have no quotes in them.
        let quote_of = |id: &str| -> &[u8] { if id.contains(',') { b"\"" } else { b"" } };
        let (quote, module_quote) = (quote_of(device), quote_of(module));
        let (key_quote, key): (&[u8], &[u8]) = match &made.key_pem {
            Some(pem) => (b"\"", pem),
            None => (b"", b""),
        };
        Self {
            ids: [
                quote,
                device.as_bytes(),
                quote,
                b",",
                module_quote,
                module.as_bytes(),
                module_quote,
                b",\"",
            ],
            certificate: [&made.certificate_pem, chain, b"\","],
            key: [key_quote, key, key_quote, b"\n"],
        }
    }

    fn pieces(self) -> impl Iterator<Item = &'a [u8]> {
        self.ids.into_iter().chain(self.certificate).chain(self.key)
    }
}

fn length(pieces: &[&[u8]]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
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

/// A private file that is appended to.
struct Appended {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Appended {
    fn open(
        path: PathBuf,
        contents: Contents,
        open: fn(&Path) -> Result<File, Error>,
    ) -> Result<Self, Error> {
        contents.check(&path)?;
        let file = open(&path)?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { path, file, length })
    }

    /// Appends bytes, of which the first `length` stay after the next append.
    fn append(&mut self, bytes: &[u8], length: usize) -> Result<(), Error> {
        fs::append_at(&self.file, &self.path, self.length, bytes)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.length += length as u64;
        Ok(())
    }

    /// Appends many pieces, by a buffer that is small enough to stay in the cache.
    fn append_pieces<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Error> {
        // It never grows: that would leave copies of private keys behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(BUFFER_BYTES));
        let mut end = self.length;
        let mut write = |bytes: &[u8]| {
            let written = fs::append_at(&self.file, &self.path, end, bytes);
            end += bytes.len() as u64;
            written
        };
        for piece in pieces {
            if piece.len() > BUFFER_BYTES - buffer.len() {
                write(&buffer)?;
                buffer.clear();
            }
            match piece.len() <= BUFFER_BYTES {
                true => buffer.extend_from_slice(piece),
                false => write(piece)?,
            }
        }
        write(&buffer)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.length = end;
        Ok(())
    }

    fn cut(&mut self, length: u64) -> Result<(), Error> {
        fs::cut(&self.file, &self.path, length)?;
        self.length = self.file.metadata().map_err(Error::io("read", &self.path))?.len();
        Ok(())
    }

    /// Makes the next append overwrite the last bytes, if there are that many and all are zero.
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
const BUFFER_BYTES: usize = 64 * 1024;
const TAR_BLOCK: usize = 512;
/// The end of an archive: two empty blocks.
const TAR_END: usize = 2 * TAR_BLOCK;
