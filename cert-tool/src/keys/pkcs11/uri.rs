//! [`TokenUri`]: the location of a key, in the form of RFC 7512.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cryptoki::object::Attribute;
use cryptoki::slot::{Slot, TokenInfo};
use hub_types::shown::ShownBare;
use percent_encoding::percent_decode_str;

use crate::error::Error;

/// A PKCS#11 URI (RFC 7512) of a private key: `pkcs11:token=plant;object=ca?module-path=/usr/lib/….so`.
///
/// It needs `module-path`, and `object` or `id`. The PIN may be in a file, by `pin-source=file:/…`; a
/// `pin-value` is refused, for a URI is typed where others can read it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::TokenUri;
///
/// let uri: TokenUri = "pkcs11:token=plant%207;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
/// assert_eq!(uri.to_string(), "pkcs11:token=plant%207;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so");
/// assert!("pkcs11:object=ca?module-path=/m.so&pin-value=1234".parse::<TokenUri>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    /// The original text; there is no secret in it.
    text: String,
    token: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    slot: Option<u64>,
    label: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    module: PathBuf,
    pin_source: Option<PathBuf>,
}

impl TokenUri {
    pub(crate) fn module(&self) -> &Path {
        &self.module
    }

    pub(crate) fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    pub(super) fn fits(&self, slot: Slot, info: &TokenInfo) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|it| it == found);
        fits(&self.token, info.label())
            && fits(&self.manufacturer, info.manufacturer_id())
            && fits(&self.model, info.model())
            && fits(&self.serial, info.serial_number())
            && self.slot.is_none_or(|id| id == slot.id())
    }

    /// The attributes to find the key.
    pub(super) fn object(&self) -> Vec<Attribute> {
        let label = self.label.clone().map(Attribute::Label);
        label.into_iter().chain(self.id.clone().map(Attribute::Id)).collect()
    }

    /// The attributes to find a new key later. It always gets an id, which links its two halves.
    pub(super) fn object_of_new_key(&self) -> Result<Vec<Attribute>, Error> {
        let mut object = self.object();
        if self.id.is_none() {
            let mut id = [0; 16];
            aws_lc_rs::rand::fill(&mut id).map_err(|_| Error::Crypto("drawing random bytes"))?;
            object.push(Attribute::Id(id.to_vec()));
        }
        Ok(object)
    }

    pub(crate) fn bad(&self, reason: &str) -> Error {
        Error::BadTokenUri { uri: self.text.clone(), reason: reason.to_owned() }
    }

    pub(crate) fn failed(&self, action: &'static str, source: cryptoki::error::Error) -> Error {
        Error::Token { action, uri: self.text.clone(), source: Box::new(source) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || {
            let text = percent_decode_str(value).decode_utf8();
            text.map(std::borrow::Cow::into_owned).map_err(|_| format!("`{name}` is not UTF-8 text"))
        };
        let bytes = || percent_decode_str(value).collect::<Vec<u8>>();
        match name {
            "token" => once(name, &mut self.token, text()?),
            "manufacturer" => once(name, &mut self.manufacturer, text()?),
            "model" => once(name, &mut self.model, text()?),
            "serial" => once(name, &mut self.serial, text()?),
            "object" => once(name, &mut self.label, bytes()),
            "id" => once(name, &mut self.id, bytes()),
            "slot-id" => {
                let id = value.parse().map_err(|_| "`slot-id` is not a number".to_owned())?;
                once(name, &mut self.slot, id)
            }
            "type" if value == "private" => Ok(()),
            "type" => Err("`type` must be `private`".to_owned()),
            "pin-source" => {
                let text = text()?;
                let path = text.strip_prefix("file:").unwrap_or(&text);
                let path = path.strip_prefix("//").unwrap_or(path);
                if !path.starts_with('/') {
                    return Err(
                        "`pin-source` must be a file with its whole path, as in `file:/run/pin`".to_owned()
                    );
                }
                once(name, &mut self.pin_source, path.into())
            }
            "module-path" if self.module.as_os_str().is_empty() => {
                self.module = text()?.into();
                Ok(())
            }
            "module-path" => Err("`module-path` is there twice".to_owned()),
            "module-name" => Err("give the module by `module-path`, not by `module-name`".to_owned()),
            _ => Err(format!("`{}` is not an attribute that is known here", ShownBare(name))),
        }
    }
}

impl FromStr for TokenUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Before anything else: a URI with a PIN in it must not show up in a message.
        let lower = text.to_ascii_lowercase();
        if lower.contains("pin-value") {
            return Err(Error::PinInUri);
        }
        let bad = |reason: String| Error::BadTokenUri { uri: text.to_owned(), reason };
        let rest = text.get(SCHEME.len()..).filter(|_| lower.starts_with(SCHEME));
        let rest = rest.ok_or_else(|| bad("it does not begin with `pkcs11:`".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            text: text.to_owned(),
            token: None,
            manufacturer: None,
            model: None,
            serial: None,
            slot: None,
            label: None,
            id: None,
            module: PathBuf::new(),
            pin_source: None,
        };
        for attribute in path.split(';').chain(query.split('&')).filter(|attribute| !attribute.is_empty()) {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| bad(format!("`{}` has no `=`", ShownBare(attribute))))?;
            uri.set(name, value).map_err(bad)?;
        }
        if uri.module.as_os_str().is_empty() {
            return Err(bad("it does not say which module: add `?module-path=/usr/lib/….so`".to_owned()));
        }
        if uri.label.is_none() && uri.id.is_none() {
            return Err(bad("it does not say which key: add `object` or `id`".to_owned()));
        }
        Ok(uri)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{name}` is there twice")),
    }
}

const SCHEME: &str = "pkcs11:";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_with_a_uri_is_told() {
        for (text, told) in [
            ("http://x", "begin with `pkcs11:`"),
            ("pkcs11:object=a", "module-path"),
            ("pkcs11:token=a?module-path=/m.so", "which key"),
            ("pkcs11:object=a;object=b?module-path=/m.so", "twice"),
            ("pkcs11:object=a;colour=red?module-path=/m.so", "`colour`"),
            ("pkcs11:object=a;slot-id=x?module-path=/m.so", "not a number"),
            ("pkcs11:object?module-path=/m.so", "no `=`"),
            ("pkcs11:object=a?module-path=/m.so&pin-source=|cat%20pin", "pin-source"),
            ("pkcs11:object=a?module-name=softhsm2", "module-path"),
            ("pkcs11:object=a;type=cert?module-path=/m.so", "private"),
        ] {
            let error = text.parse::<TokenUri>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_never_repeated() {
        for text in
            ["pkcs11:object=a?pin-value=4711", "PKCS11:object=a?PIN-VALUE=4711", "pkcs11:pin-value=4711;x"]
        {
            let error = text.parse::<TokenUri>().unwrap_err();
            assert!(matches!(error, Error::PinInUri), "{error}");
            assert!(!format!("{error} {error:?}").contains("4711"));
        }
    }

    #[test]
    fn escapes_are_undone() {
        let uri: TokenUri =
            "pkcs11:object=a%3Bb;id=%00%ff?module-path=/m.so&pin-source=file:///run/p%20in".parse().unwrap();
        assert_eq!((uri.label, uri.id), (Some(b"a;b".to_vec()), Some(vec![0, 255])));
        assert_eq!(uri.pin_source, Some("/run/p in".into()));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "pkcs11:.{0,80}") {
            let _ = text.parse::<TokenUri>();
        }
    }
}
