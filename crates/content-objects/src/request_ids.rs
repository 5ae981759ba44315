//! Puts the provider's request id into its errors: support asks for it, and some errors (those
//! without a body) carry it in a header alone.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

/// Headers by which providers name a request.
const HEADERS: &[&str] = &[
    "x-amz-request-id",
    "x-amz-id-2",
    "x-ms-request-id",
    "x-guploader-uploadid",
];

/// Makes clients whose errors name the request.
#[derive(Debug, Default)]
pub(crate) struct Connector(ReqwestConnector);

#[derive(Debug)]
struct Named(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Named(self.0.connect(options)?)))
    }
}

#[async_trait]
impl HttpService for Named {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.execute(request).await?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // An error whose text is cut is still that error.
        let mut text = body.bytes().await.unwrap_or_default().to_vec();
        for name in HEADERS {
            if let Some(value) = parts.headers.get(*name) {
                text.extend_from_slice(format!(" {name}: ").as_bytes());
                text.extend_from_slice(value.as_bytes());
            }
        }
        Ok(HttpResponse::from_parts(
            parts,
            String::from_utf8_lossy(&text).into_owned().into(),
        ))
    }
}
