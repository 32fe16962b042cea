//! [`TokenKey`]: a private key in a PKCS#11 token, for example an HSM, which never reveals it.

mod module;
mod uri;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType as TokenKeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use pkcs8::der::{self, Decode as _, Encode as _, asn1};

use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::keys::handle::KeyHandle;
use crate::keys::private::KeyType;
use crate::secrets::secret::{AskSecret, Secret};

pub use uri::TokenUri;

/// A private key in a token.
pub(crate) struct TokenKey {
    uri: TokenUri,
    pkcs11: Pkcs11,
    slot: Slot,
    /// The unused sessions. A session can't be shared between threads: a thread that signs takes
    /// one, or opens one, so there are never more than threads.
    idle: Mutex<Vec<Session>>,
    private: ObjectHandle,
    key_type: KeyType,
    public_key: Vec<u8>,
}

impl TokenKey {
    /// Opens the only key that matches a URI.
    pub(crate) fn open(uri: &TokenUri, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        let (pkcs11, slot, session) = log_in(uri, ask)?;
        let private = find(uri, &session, ObjectClass::PRIVATE_KEY)?
            .ok_or_else(|| uri.bad("no private key in the token fits it"))?;
        Self::of(uri, pkcs11, slot, session, private)
    }

    /// Opens the only key that matches a URI, and generates it if it does not exist. A new key can
    /// neither be read nor copied out of the token.
    pub(crate) fn open_or_generate(
        uri: &TokenUri,
        key_type: KeyType,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        let (pkcs11, slot, session) = log_in(uri, ask)?;
        let private = match find(uri, &session, ObjectClass::PRIVATE_KEY)? {
            Some(private) => private,
            None => generate(uri, key_type, &session)?,
        };
        Self::of(uri, pkcs11, slot, session, private)
    }

    fn of(
        uri: &TokenUri,
        pkcs11: Pkcs11,
        slot: Slot,
        session: Session,
        private: ObjectHandle,
    ) -> Result<Self, Error> {
        let (key_type, public_key) = public_key(uri, &session, private)?;
        let idle = Mutex::new(vec![session]);
        let key = Self { uri: uri.clone(), pkcs11, slot, idle, private, key_type, public_key };
        key.try_out()?;
        Ok(key)
    }

    /// Signs something of no meaning and verifies it, so that nothing is ever written that is signed by a key
    /// other than the public one.
    fn try_out(&self) -> Result<(), Error> {
        let signature = self.sign(TEST_MESSAGE)?;
        let is_good = verifies(self.key_type, &self.public_key, TEST_MESSAGE, &signature);
        let reason = "a signature of its private key does not verify with its public key: the two objects in \
                      the token are not of one key pair, or the token is at fault";
        if is_good { Ok(()) } else { Err(self.uri.bad(reason)) }
    }

    fn sign_with(&self, session: &Session, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |source| self.uri.failed("sign with", source);
        let ecdsa = |algorithm| {
            let hash = digest(algorithm, message);
            let signature = session.sign(&Mechanism::Ecdsa, self.private, hash.as_ref()).map_err(failed)?;
            ecdsa_der(&signature).ok_or_else(|| self.uri.bad("the token's signature cannot be parsed"))
        };
        match self.key_type {
            KeyType::P256 => ecdsa(&SHA256),
            KeyType::P384 => ecdsa(&SHA384),
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                session.sign(&Mechanism::Sha256RsaPkcs, self.private, message).map_err(failed)
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        // Nothing that could panic happens while it is locked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyHandle for TokenKey {
    fn key_type(&self) -> KeyType {
        self.key_type
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            // The token remembers who logged in, for all sessions of this process.
            None => self.pkcs11.open_ro_session(self.slot).map_err(|error| self.uri.failed("open", error))?,
        };
        let signature = self.sign_with(&session, message)?;
        // One that failed is not used again.
        self.idle().push(session);
        Ok(signature)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}, {})", self.key_type, self.uri)
    }
}

fn log_in(uri: &TokenUri, ask: &mut AskSecret<'_>) -> Result<(Pkcs11, Slot, Session), Error> {
    let pkcs11 = module::load(uri)?;
    let (slot, info) = module::find_slot(uri, &pkcs11)?;
    let session = pkcs11.open_rw_session(slot).map_err(|source| uri.failed("open", source))?;
    if info.login_required() {
        let asked_for = SecretFor::Token(info.label());
        let pin = if info.protected_authentication_path() {
            // The PIN is typed at the token itself.
            None
        } else {
            let pin = match uri.pin_source() {
                Some(file) => Some(Secret::read(file)?),
                None => ask(asked_for)?,
            };
            Some(pin.ok_or_else(|| Error::secret_needed(asked_for))?)
        };
        let pin = pin.map(|pin| AuthPin::from(pin.expose().to_owned()));
        match session.login(UserType::User, pin.as_ref()) {
            // Another CA of this process has the same token.
            Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Pkcs11Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid,
                _,
            )) => {
                return Err(Error::WrongSecret { what: asked_for.to_string() });
            }
            Err(source) => return Err(uri.failed("log in to", source)),
        }
    }
    Ok((pkcs11, slot, session))
}

/// The only object of a class that matches a URI.
fn find(uri: &TokenUri, session: &Session, class: ObjectClass) -> Result<Option<ObjectHandle>, Error> {
    let mut template = uri.object();
    template.push(Attribute::Class(class));
    let found = session.find_objects(&template).map_err(|source| uri.failed("search", source))?;
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => Err(uri.bad(&format!("{} keys in the token fit it; add `object` or `id`", several.len()))),
    }
}

fn generate(uri: &TokenUri, key_type: KeyType, session: &Session) -> Result<ObjectHandle, Error> {
    let object = uri.object_of_new_key()?;
    let mut public = object.clone();
    public.extend([Attribute::Token(true), Attribute::Private(false), Attribute::Verify(true)]);
    let mut private = object;
    private.extend([
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]);
    let mechanism = match key_type.rsa_bits() {
        Some(bits) => {
            public.push(Attribute::ModulusBits((bits as u64).into()));
            public.push(Attribute::PublicExponent(vec![1, 0, 1]));
            Mechanism::RsaPkcsKeyPairGen
        }
        None => {
            let curve = if key_type == KeyType::P384 { P384 } else { P256 };
            public.push(Attribute::EcParams(curve.to_vec()));
            Mechanism::EccKeyPairGen
        }
    };
    let made = session.generate_key_pair(&mechanism, &public, &private);
    made.map(|(_, private)| private).map_err(|source| uri.failed("make a key in", source))
}

/// The kind of a key, and its public half in the form of [`KeyHandle::public_key`].
fn public_key(uri: &TokenUri, session: &Session, private: ObjectHandle) -> Result<(KeyType, Vec<u8>), Error> {
    let read = |object, wanted: &[AttributeType]| {
        session.get_attributes(object, wanted).map_err(|source| uri.failed("read from", source))
    };
    let mut kind = None;
    let (mut id, mut label) = (Vec::new(), Vec::new());
    for attribute in read(private, &[AttributeType::KeyType, AttributeType::Id, AttributeType::Label])? {
        match attribute {
            Attribute::KeyType(key_type) => kind = Some(key_type),
            Attribute::Id(bytes) => id = bytes,
            Attribute::Label(bytes) => label = bytes,
            _ => {}
        }
    }
    let unknown = || uri.bad("the key is neither P-256, P-384 nor RSA-2048/3072/4096");
    match kind {
        Some(TokenKeyType::RSA) => {
            let found = read(private, &[AttributeType::Modulus, AttributeType::PublicExponent])?;
            rsa_public_key(&found).ok_or_else(unknown)
        }
        Some(TokenKeyType::EC) => {
            // Only the public object has the point for certain. Several key pairs may have one CKA_ID, and not
            // all programs give both halves the same label.
            let search = |more: &[Attribute]| {
                let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.clone())];
                template.extend_from_slice(more);
                session.find_objects(&template).map_err(|source| uri.failed("search", source))
            };
            let mut objects = search(&[Attribute::Label(label)])?;
            if objects.is_empty() {
                objects = search(&[])?;
            }
            let mut keys = Vec::new();
            for object in objects {
                let found = read(object, &[AttributeType::EcParams, AttributeType::EcPoint])?;
                keys.push(ec_public_key(&found).ok_or_else(unknown)?);
            }
            keys.dedup();
            match keys.as_slice() {
                [] => Err(uri.bad("its public key is not in the token")),
                [_] => keys.pop().ok_or_else(unknown),
                several => Err(uri.bad(&format!(
                    "{} public keys in the token have its CKA_ID, so that its own can't be told; give each key \
                     pair an id of its own",
                    several.len()
                ))),
            }
        }
        _ => Err(unknown()),
    }
}

/// Verifies a signature as [`KeyHandle::sign`] makes it.
fn verifies(key_type: KeyType, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match key_type {
        KeyType::P256 => &ECDSA_P256_SHA256_ASN1,
        KeyType::P384 => &ECDSA_P384_SHA384_ASN1,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &RSA_PKCS1_2048_8192_SHA256,
    };
    UnparsedPublicKey::new(algorithm, public_key).verify(message, signature).is_ok()
}

fn rsa_public_key(attributes: &[Attribute]) -> Option<(KeyType, Vec<u8>)> {
    let modulus = attributes.iter().find_map(|it| match it {
        Attribute::Modulus(bytes) => Some(bytes),
        _ => None,
    })?;
    let exponent = attributes.iter().find_map(|it| match it {
        Attribute::PublicExponent(bytes) => Some(bytes),
        _ => None,
    })?;
    let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
    Some((KeyType::of_rsa_bits(bytes * 8)?, sequence_of(&[modulus, exponent]).ok()?))
}

fn ec_public_key(attributes: &[Attribute]) -> Option<(KeyType, Vec<u8>)> {
    let curve = attributes.iter().find_map(|it| match it {
        Attribute::EcParams(bytes) => Some(bytes.as_slice()),
        _ => None,
    })?;
    let point = attributes.iter().find_map(|it| match it {
        Attribute::EcPoint(bytes) => Some(bytes.as_slice()),
        _ => None,
    })?;
    let (key_type, length) = match curve {
        P256 => (KeyType::P256, 65),
        P384 => (KeyType::P384, 97),
        _ => return None,
    };
    // PKCS#11 wraps it in an OCTET STRING; some tokens don't.
    let wrapped = <&asn1::OctetStringRef>::from_der(point).ok().map(asn1::OctetStringRef::as_bytes);
    let point = wrapped.unwrap_or(point);
    (point.len() == length && point.first() == Some(&UNCOMPRESSED)).then(|| (key_type, point.to_vec()))
}

/// Encodes r and s, which a token returns concatenated, as `ECDSA-Sig-Value` (RFC 3279 §2.2.3).
fn ecdsa_der(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(signature.len() / 2)?;
    (r.len() == s.len() && !r.is_empty()).then(|| sequence_of(&[r, s]).ok()).flatten()
}

/// A sequence of positive integers.
fn sequence_of(integers: &[&[u8]]) -> der::Result<Vec<u8>> {
    let integers = integers.iter().map(|bytes| asn1::UintRef::new(bytes)).collect::<der::Result<Vec<_>>>()?;
    integers.to_der()
}

/// The curves' object identifiers in DER (RFC 5480 §2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const UNCOMPRESSED: u8 = 4;
const TEST_MESSAGE: &[u8] = b"cert-tool: does this key sign for its public key?";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_become_the_shortest_integers_and_stay_positive() {
        let der = ecdsa_der(&[0, 0x7f, 0x80, 0]).unwrap();
        assert_eq!(
            der,
            [0x30, 8, 2, 1, 0x7f, 2, 3, 0, 0x80, 0][..9].iter().copied().chain([0]).collect::<Vec<_>>()
        );
        assert!(ecdsa_der(&[1, 2, 3]).is_none() && ecdsa_der(&[]).is_none());
    }

    #[test]
    fn a_point_is_taken_wrapped_or_bare() {
        let bare: Vec<u8> = std::iter::once(4).chain([7; 64]).collect();
        let wrapped: Vec<u8> = [4, 65].into_iter().chain(bare.clone()).collect();
        for point in [bare.clone(), wrapped] {
            let key = ec_public_key(&[Attribute::EcParams(P256.to_vec()), Attribute::EcPoint(point)]);
            assert_eq!(key, Some((KeyType::P256, bare.clone())));
        }
        assert!(ec_public_key(&[Attribute::EcParams(P384.to_vec()), Attribute::EcPoint(bare)]).is_none());
    }
}
