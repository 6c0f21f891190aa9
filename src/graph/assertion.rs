//! The JSON web token by which the application proves that it holds the key of its certificate.
//!
//! Signed PS256 with the SHA-256 thumbprint, as Entra asks for today; checks neither date nor issuer of the
//! certificate, for that is Entra's to judge.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls_pki_types::pem::{PemObject, SectionKind};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use crate::domain::target::Guid;

/// Entra takes assertions of 5 to 10 minutes.
const LIFETIME_SECS: i64 = 600;

/// Why a PEM text is no credential. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PemFault {
    #[error("it holds no private key")]
    NoKey,
    #[error("it holds no certificate")]
    NoCertificate,
    #[error("its private key is encrypted")]
    EncryptedKey,
    #[error("its private key is an EC key, and Entra takes RSA keys only")]
    EcKey,
    #[error("its private key is not an RSA key of 2048 to 8192 bits in PKCS#8 or PKCS#1 form")]
    BadKey,
    #[error("none of its certificates belongs to its private key")]
    OtherKey,
}

/// The key, and the thumbprint of the certificate that belongs to it.
pub(super) struct Signer {
    key: KeyPair,
    thumbprint: String,
}

impl Signer {
    pub(super) fn from_pem(pem: &str) -> Result<Self, PemFault> {
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        let sections = sections.map(|(kind, der)| (kind, Zeroizing::new(der))).collect::<Vec<_>>();
        let mut keys = sections.iter().filter_map(|(kind, der)| match kind {
            SectionKind::PrivateKey if is_ec(der) => Some(Err(PemFault::EcKey)),
            SectionKind::PrivateKey => Some(KeyPair::from_pkcs8(der).map_err(|_| PemFault::BadKey)),
            SectionKind::RsaPrivateKey => Some(KeyPair::from_der(der).map_err(|_| PemFault::BadKey)),
            SectionKind::EcPrivateKey => Some(Err(PemFault::EcKey)),
            _ => None,
        });
        let is_encrypted = pem.contains("ENCRYPTED");
        let key =
            keys.next().ok_or(if is_encrypted { PemFault::EncryptedKey } else { PemFault::NoKey })??;
        let mut certificates = sections
            .iter()
            .filter(|(kind, _)| *kind == SectionKind::Certificate)
            .map(|(_, der)| der)
            .peekable();
        certificates.peek().ok_or(PemFault::NoCertificate)?;
        // A certificate holds its public key byte for byte as the key pair writes it; of a chain, one fits.
        let public = key.public_key().as_ref();
        let own = certificates.find(|der| der.windows(public.len()).any(|bytes| bytes == public));
        let thumbprint = digest::digest(&digest::SHA256, own.ok_or(PemFault::OtherKey)?);
        let thumbprint = URL_SAFE_NO_PAD.encode(thumbprint);
        Ok(Self { key, thumbprint })
    }

    /// A fresh assertion for one exchange. `audience` is the token endpoint.
    pub(super) fn sign(&self, client_id: &Guid, audience: &str, now: Timestamp) -> SecretString {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": uuid::Uuid::new_v4().to_string(),
            "nbf": now.as_second(),
            "iat": now.as_second(),
            "exp": now.as_second() + LIFETIME_SECS,
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("an RSA key of at least 2048 bits signs any text, into as many bytes as its modulus has");
        SecretString::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Whether a PKCS#8 key says in its head that it is for elliptic curves (1.2.840.10045.2.1).
fn is_ec(pkcs8: &[u8]) -> bool {
    const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pkcs8.iter().take(32).copied().collect::<Vec<_>>().windows(7).any(|bytes| bytes == EC_PUBLIC_KEY)
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
