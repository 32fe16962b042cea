//! [`KeyHandle`]: a private key that signs, in a file or in a token.

use std::sync::Arc;

use crate::error::Error;
use crate::keys::private::{KeyType, PrivateKey};

/// A private key, wherever it is: here, or in a token that never gives it away.
pub(crate) trait KeyHandle: Send + Sync {
    fn key_type(&self) -> KeyType;

    /// As [`PrivateKey::public_key`].
    fn public_key(&self) -> &[u8];

    /// Signs a message with the hash that belongs to the key's kind; ECDSA signatures are in DER.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

impl KeyHandle for PrivateKey {
    fn key_type(&self) -> KeyType {
        self.key_type()
    }

    fn public_key(&self) -> &[u8] {
        self.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign(message)
    }
}

impl<K: KeyHandle + ?Sized> KeyHandle for Arc<K> {
    fn key_type(&self) -> KeyType {
        self.as_ref().key_type()
    }

    fn public_key(&self) -> &[u8] {
        self.as_ref().public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.as_ref().sign(message)
    }
}
