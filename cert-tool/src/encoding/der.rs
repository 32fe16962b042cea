//! [`Parts`]: DER taken apart value by value.

use pkcs8::der::{self, Decode as _, ErrorKind, Header, Reader as _, SliceReader, Tag};

/// The values in a constructed value, one after the other.
pub(crate) struct Parts<'a>(SliceReader<'a>);

impl<'a> Parts<'a> {
    /// Opens a value that has a tag and ends where the bytes do.
    pub(crate) fn of(der: &'a [u8], tag: Tag) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let header = Header::decode(&mut reader)?;
        header.tag().assert_eq(tag)?;
        let content = reader.read_slice(header.length())?;
        reader.finish()?;
        SliceReader::new(content).map(Self)
    }

    /// The next value, with its tag and its length.
    pub(crate) fn next(&mut self) -> der::Result<&'a [u8]> {
        self.0.tlv_bytes()
    }

    /// Tells whether there is no further value.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Makes sure that there is no further value.
    pub(crate) fn finish(&self) -> der::Result<()> {
        if self.is_finished() { Ok(()) } else { Err(ErrorKind::Failed.into()) }
    }
}
