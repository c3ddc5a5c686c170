//! The mirror of `[route.scheme.…]` for schemes that judge whole requests: CDNs and standards.

use std::path::PathBuf;

use super::raw::SecretRef;
use super::read::table;
use super::values::Encoding;
use crate::clock::UnixTime;

table! {
    /// A key of a scheme that judges whole requests.
    pub struct SchemeKey {
        /// Its name: what a token calls it where the format has names for keys, else for people alone.
        required name: String,
        /// The secret, for schemes with a shared one.
        optional secret: SecretRef,
        /// How the secret is written: `text`, `base64url`, `base64` or `hex`.
        default("'text'") encoding: Encoding,
        /// A file with the public key in PEM, for schemes with those.
        optional public_key: PathBuf,
        /// The private key in PEM, which minting needs.
        optional private_key: SecretRef,
        /// The first moment at which it counts no more.
        optional until: UnixTime,
    }
}
