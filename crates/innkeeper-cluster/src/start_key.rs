//! The key of one start of a node's program: it signs each connection, so that who has a copy of
//! the node's certificate is not taken for that start.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// From which version of the protocol on connections are signed.
pub(crate) const SIGNED_SINCE: u64 = 2;

/// What only the two ends of one connection know.
pub type Binding = [u8; 32];

/// The key of one start of a program. Nobody else ever has it: it is written down nowhere.
pub struct StartKey(Ed25519KeyPair);

/// Which end of a connection signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who connected.
    Dialled,
    /// Whom it connected to.
    Answered,
}

/// The operating system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random numbers from the operating system for a key; look at getrandom(2)")
    }
}

impl std::error::Error for NoRandomness {}

impl StartKey {
    /// A fresh one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<StartKey, NoRandomness> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| NoRandomness)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoRandomness)?;
        Ok(StartKey(pair))
    }

    /// What others check signatures with.
    pub fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        public
    }

    /// Signs a connection, as one of its ends.
    pub fn sign(&self, end: End, binding: &Binding) -> Vec<u8> {
        self.0.sign(&words(end, binding)).as_ref().to_vec()
    }
}

/// Whether that end of the connection has the key that belongs to this one.
pub(crate) fn is_signed(public: &[u8; 32], end: End, binding: &Binding, signature: &[u8]) -> bool {
    let public = UnparsedPublicKey::new(&ED25519, public);
    public.verify(&words(end, binding), signature).is_ok()
}

/// What is signed. Which end it is stands there too, so that nobody can say to the other what that
/// has said.
fn words(end: End, binding: &Binding) -> Vec<u8> {
    let end: &[u8] = match end {
        End::Dialled => b"innkeeper link, dialled\n",
        End::Answered => b"innkeeper link, answered\n",
    };
    [end, binding].concat()
}

impl fmt::Debug for StartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A12
    #[test]
    fn a_signature_is_of_one_key_one_end_and_one_connection() {
        let (key, other) = (StartKey::new().unwrap(), StartKey::new().unwrap());
        let (here, there) = ([1; 32], [2; 32]);
        let signature = key.sign(End::Dialled, &here);
        assert!(is_signed(&key.public(), End::Dialled, &here, &signature));
        assert!(!is_signed(&other.public(), End::Dialled, &here, &signature));
        assert!(!is_signed(&key.public(), End::Answered, &here, &signature));
        assert!(!is_signed(&key.public(), End::Dialled, &there, &signature));
        assert!(!is_signed(&key.public(), End::Dialled, &here, &signature[1..]));
        assert!(!is_signed(&key.public(), End::Dialled, &here, &[]));
        assert_eq!(format!("{key:?}"), "StartKey { .. }", "no key is shown");
    }
}
