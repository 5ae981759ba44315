//! JSON Web Keys that are brought in: any text is a key whose parts fit together, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault::crypto::{KeySpec, Signing, jwk, sign, verify};

fuzz_target!(|data: &[u8]| {
    let Some(key) = jwk::read(data) else { return };
    let (way, digest) = match key.spec {
        KeySpec::Rsa(_) => (Signing::Rs(256), vec![1; 32]),
        KeySpec::Ec(curve) => (Signing::Es(curve), vec![1; digest_bytes(curve)]),
    };
    let signature = sign(key.spec, &key.private, way, &digest).expect("a key that was taken signs");
    assert_eq!(verify(key.spec, &key.private, way, &digest, &signature), Ok(true));
});

fn digest_bytes(curve: vault::crypto::Curve) -> usize {
    match curve {
        vault::crypto::Curve::P384 => 48,
        vault::crypto::Curve::P521 => 64,
        _ => 32,
    }
}
