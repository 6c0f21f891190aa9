use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::*;

/// A fresh RSA key as PKCS#8.
fn rsa() -> Vec<u8> {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.collect::<Vec<_>>().join("\n"))
}

fn certificate(pkcs8: &[u8]) -> Vec<u8> {
    let key = rcgen::KeyPair::try_from(pkcs8).unwrap();
    CertificateParams::new(vec!["regrant".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec()
}

fn fault(pem: &str) -> PemFault {
    Signer::from_pem(pem).err().unwrap()
}

#[test]
fn every_usual_arrangement_of_key_and_certificates_is_read() {
    let (key, stranger) = (rsa(), rsa());
    // PKCS#8 wraps PKCS#1; for an RSA key of 2048 bits its own part takes 26 bytes.
    let (pkcs8, pkcs1) = (pem("PRIVATE KEY", &key), pem("RSA PRIVATE KEY", &key[26..]));
    let own = certificate(&key);
    let (leaf, issuer) = (pem("CERTIFICATE", &own), pem("CERTIFICATE", &certificate(&stranger)));
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &own));
    for text in [
        format!("{leaf}{pkcs8}"),
        format!("{pkcs8}{leaf}"),
        format!("{leaf}{pkcs1}"),
        format!("{issuer}{leaf}{pkcs8}"),
        format!("Bag Attributes: none\n{pkcs8}\nsubject=CN\n{leaf}{issuer}"),
        format!("{leaf}{pkcs8}").replace('\n', "\r\n"),
    ] {
        assert_eq!(Signer::from_pem(&text).unwrap().thumbprint, thumbprint, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_pem_text_is_said_and_nothing_of_it_shown() {
    let (key, stranger) = (rsa(), rsa());
    let ec = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (pkcs8, leaf) = (pem("PRIVATE KEY", &key), pem("CERTIFICATE", &certificate(&key)));
    let other = pem("CERTIFICATE", &certificate(&stranger));
    for (text, expected) in [
        (String::new(), PemFault::NoKey),
        ("a client secret".to_owned(), PemFault::NoKey),
        (leaf.clone(), PemFault::NoKey),
        (pkcs8.clone(), PemFault::NoCertificate),
        (format!("{pkcs8}{other}"), PemFault::OtherKey),
        (format!("{leaf}{}", pem("PRIVATE KEY", &ec.serialize_der())), PemFault::EcKey),
        (format!("{leaf}{}", pem("EC PRIVATE KEY", b"any")), PemFault::EcKey),
        (format!("{leaf}{}", pem("ENCRYPTED PRIVATE KEY", b"any")), PemFault::EncryptedKey),
        (format!("{leaf}{}", pem("PRIVATE KEY", b"garbage")), PemFault::BadKey),
        (format!("{leaf}{}", pem("RSA PRIVATE KEY", &key)), PemFault::BadKey),
        (format!("{leaf}{}", &pkcs8[..pkcs8.len() / 2]), PemFault::NoKey),
    ] {
        assert_eq!(fault(&text), expected, "{text}");
    }
    assert_eq!(
        fault(&pem("EC PRIVATE KEY", b"any")).to_string(),
        "its private key is an EC key, and Entra takes RSA keys only"
    );
}

#[test]
fn an_assertion_holds_the_claims_and_the_signature_that_entra_asks_for() {
    let key = rsa();
    let own = certificate(&key);
    let signer = Signer::from_pem(&(pem("CERTIFICATE", &own) + &pem("PRIVATE KEY", &key))).unwrap();
    let client_id = Guid::parse("66666666-7777-8888-9999-000000000000").unwrap();
    let now = "2026-11-20T10:00:00Z".parse::<Timestamp>().unwrap();
    let sign = || signer.sign(&client_id, "https://login/token", now).expose_secret().to_owned();
    let jwt = sign();
    let parts = jwt.split('.').collect::<Vec<_>>();
    let json =
        |at: usize| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &own));
    assert_eq!(json(0), json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint }));
    let claims = json(1);
    let jti = claims["jti"].as_str().unwrap();
    assert!(Guid::parse(jti).is_ok(), "{jti}");
    assert_eq!(
        claims,
        json!({ "aud": "https://login/token", "iss": client_id, "sub": client_id, "jti": jti,
            "nbf": 1_795_168_800, "iat": 1_795_168_800, "exp": 1_795_169_400 })
    );
    let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, signer.key.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
    assert_ne!(sign(), jwt, "every assertion has its own id");
}
