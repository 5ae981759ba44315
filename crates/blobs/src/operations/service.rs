//! Get Account Information; Get Blob Service Properties.

use http::{Response, StatusCode};
use http_semantics::Body;

use crate::error::BlobsError;
use crate::service::Call;
use crate::wire::{render, xml};

pub(crate) fn information(_call: &Call) -> Result<Response<Body>, BlobsError> {
    let mut response = render::empty(StatusCode::OK);
    let headers = response.headers_mut();
    render::set(headers, "x-ms-sku-name", "Standard_LRS");
    render::set(headers, "x-ms-account-kind", "StorageV2");
    render::set(headers, "x-ms-is-hns-enabled", "false");
    Ok(response)
}

pub(crate) fn properties(call: &Call) -> Result<Response<Body>, BlobsError> {
    call.permit('s', "r")?;
    let off = "<Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>";
    Ok(render::document(format!(
        "{}<StorageServiceProperties><Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read>\
         <Write>false</Write><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>\
         <HourMetrics>{off}</HourMetrics><MinuteMetrics>{off}</MinuteMetrics><Cors />\
         <DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>\
         <StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>",
        xml::DECLARATION
    )))
}
