//! Whole requests to Platform Storage, with a good token of the app's org: paths, queries, JSON in
//! any case, multipart, file names, lock tokens. The instance that requests may name is there.
#![no_main]

use std::sync::{Arc, LazyLock};

use blobs::Blobs;
use documents::Documents;
use fuzz_requests::{Stores, block_on, request, serve};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use identity::{SharedKey, TokenIssuer, TokenVerifier};
use libfuzzer_sys::fuzz_target;
use platform_storage::{
    EmbeddedDecisionPoint, Foundation, Platform, PlatformService, PlatformTokens, Register, RegisterSource,
    Settings,
};
use serde_json::json;

const APPLICATION: &str = "POST /storage/api/v1/applications?appId=ttd/a\n\n{\"dataTypes\":[{\"id\":\"m\"}]}";
const INSTANCE: &str =
    "POST /storage/api/v1/instances?appId=ttd/a\n\n{\"instanceOwner\":{\"partyId\":\"1\"}}";

/// Made once: an RSA key takes longer than a thousand requests. Kept in a ledger of its own.
static ISSUER: LazyLock<(Arc<TokenIssuer>, HeaderValue)> = LazyLock::new(|| {
    let stores = Stores::new();
    let issuer = Arc::new(TokenIssuer::new(stores.ledger, stores.clock, "fuzz"));
    let claims = json!({"urn:altinn:org": "ttd", "urn:altinn:app": "studio.designer",
        "urn:altinn:scope": "altinn:serviceowner/instances.read"});
    let claims = claims.as_object().cloned().unwrap_or_default();
    let token = block_on(issuer.issue("fuzz", claims, 3600)).expect("a token");
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    (issuer, bearer)
});

fuzz_target!(|data: &[u8]| {
    let Some(mut request) = request(data) else { return };
    let Some(key) = SharedKey::from_base64("c2VjcmV0LWtleQ==") else {
        return;
    };
    let stores = Stores::new();
    let documents = Documents::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        documents::Settings::single("dev", key),
    );
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content,
        stores.clock.clone(),
        stores.random.clone(),
        blobs::Settings::default(),
    );
    let (issuer, bearer) = &*ISSUER;
    let register = Arc::new(RegisterSource::fixed(Register::development()));
    let platform = Platform::new(
        Foundation {
            ledger: stores.ledger,
            documents,
            blobs,
            clock: stores.clock.clone(),
            random: stores.random,
            verifier: TokenVerifier::new(issuer.clone(), stores.clock),
            platform_tokens: PlatformTokens::default(),
            decision: Arc::new(EmbeddedDecisionPoint::new(
                "no-policies".into(),
                register.clone(),
                true,
            )),
            register,
        },
        Settings {
            documents_account: "dev".to_owned(),
            blobs_account: "dev".to_owned(),
            environment: "fuzz".to_owned(),
            platform_url: None,
            apps_url: None,
            scans: true,
            refuse_infected: true,
            portal_sync: true,
        },
    );
    let service = PlatformService::new(platform, None);
    block_on(async {
        for prepared in [APPLICATION, INSTANCE] {
            let mut prepared = fuzz_requests::request(prepared.as_bytes()).expect("a request");
            prepared.headers_mut().insert(AUTHORIZATION, bearer.clone());
            serve(&service, prepared).await;
        }
        request
            .headers_mut()
            .entry(AUTHORIZATION)
            .or_insert(bearer.clone());
        serve(&service, request).await;
    });
});
