//! Uploads of blobs: begun, continued, finished, asked about, cancelled (distribution-spec, end-4 to end-6,
//! end-11, end-13, end-14).

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, Response, StatusCode};
use http_semantics::Body;
use uuid::Uuid;

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError, UploadPlace, upload_range};
use crate::limits::BLOB_BYTES_MAX;
use crate::rules::digest::{Algorithm, Digest};
use crate::rules::grants::Action;
use crate::rules::upload::{Refusal, expect};
use crate::service::{Call, digest};
use crate::store::keys::{self, Place};
use crate::store::repositories;
use crate::store::uploads::{Session, Stopped};
use crate::wire::render;

fn location(call: &Call<'_>, repository: &str, id: Uuid) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}{}", call.mirrored())
}

fn blob_location(repository: &str, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// Where an upload is.
fn progress(call: &Call<'_>, status: StatusCode, session: &Session) -> Response<Body> {
    let mut response = render::empty(status);
    let headers = response.headers_mut();
    let place = location(call, &session.record.repository, session.id);
    render::set(headers, LOCATION, &place);
    render::set(headers, RANGE, &upload_range(session.length()));
    render::set(
        headers,
        HeaderName::from_static("docker-upload-uuid"),
        &session.id.to_string(),
    );
    response
}

fn parse_id(text: &str) -> Result<Uuid, RegistryError> {
    Uuid::try_parse(text).map_err(|_| ErrorCode::BlobUploadUnknown.into())
}

fn announced(call: &Call<'_>) -> Result<Option<u64>, RegistryError> {
    let Some(text) = call.header(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = text
        .parse()
        .map_err(|_| RegistryError::from(ErrorCode::SizeInvalid))?;
    if length > BLOB_BYTES_MAX {
        let error = RegistryError::with(ErrorCode::SizeInvalid, "a blob has at most 200 GiB");
        return Err(error.status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(Some(length))
}

async fn check_lock(service: &RegistryService, place: Place<'_>) -> Result<(), RegistryError> {
    service.check_pushable(place)?;
    let snapshot = service.ledger.snapshot().await?;
    let repository = repositories::find(snapshot.as_ref(), place).await?;
    repositories::check_writable(repository.as_ref())
}

/// A place among the uploads that a request writes to. Two at once would only overtake each other.
struct Writing<'a>(&'a RegistryService, Uuid);

impl<'a> Writing<'a> {
    fn begin(service: &'a RegistryService, id: Uuid) -> Option<Self> {
        service.writing.lock().insert(id).then_some(Self(service, id))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writing.lock().remove(&self.1);
    }
}

pub(crate) async fn start(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    check_lock(service, place).await?;
    if let Some(mounted) = call.query.get("mount").filter(|mounted| !mounted.is_empty()) {
        let digest = digest(mounted)?;
        if mount(service, call, place, &digest).await? {
            return Ok(render::created(&blob_location(repository, &digest), &digest));
        }
    }
    let named = call.query.get("digest").filter(|named| !named.is_empty());
    let whole = named.map(digest).transpose()?;
    let algorithm = match call.query.get("digest-algorithm") {
        None => Algorithm::Sha256,
        Some(name) => Algorithm::parse(name).ok_or_else(|| {
            RegistryError::with(ErrorCode::DigestInvalid, "digest-algorithm is sha256 or sha512")
        })?,
    };
    service
        .check_uploads(call.registry, call.access.name.as_deref())
        .await?;
    let mut session = service.new_session(place, call.access.caller(), algorithm);
    if let Some(digest) = whole {
        RegistryService::choose_algorithm(&mut session, digest.algorithm());
        let expected = announced(call)?;
        if expected != Some(0) || digest == Digest::of(digest.algorithm(), b"") {
            return take_whole(service, call, place, (session, digest), (body, expected)).await;
        }
        // A digest without its bytes: they come by another request.
    }
    match service.save(&mut session).await {
        Ok(()) => Ok(progress(call, StatusCode::ACCEPTED, &session)),
        Err(stopped) => Err(overtaken(service, call, place, session.id, stopped).await),
    }
}

/// A blob in one POST.
async fn take_whole(
    service: &RegistryService,
    call: &Call<'_>,
    place: Place<'_>,
    (mut session, digest): (Session, Digest),
    (body, expected): (Body, Option<u64>),
) -> Result<Response<Body>, RegistryError> {
    let id = session.id;
    if let Err(stopped) = service.take_in(call.registry, &mut session, body, expected).await {
        // Nobody knows of it, so nobody would go on with it.
        let _ = service.abandon(&session).await;
        return Err(overtaken(service, call, place, id, stopped).await);
    }
    match service.complete(place, &mut session, &digest).await {
        Ok(()) => Ok(render::created(
            &blob_location(place.repository, &digest),
            &digest,
        )),
        Err(stopped) => Err(overtaken(service, call, place, id, stopped).await),
    }
}

/// Links the repository to a blob of another one that the caller may read; whether there is one.
async fn mount(
    service: &RegistryService,
    call: &Call<'_>,
    place: Place<'_>,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    if let Some(from) = call.query.get("from").filter(|from| !from.is_empty()) {
        // What the caller may not read might as well not be there.
        return match call.access.permits(from, Action::Pull) {
            true => service.mount(place, from, digest).await,
            false => Ok(false),
        };
    }
    let snapshot = service.ledger.snapshot().await?;
    let range = keys::links_of(place.registry, digest);
    let mut scan = ledger::Scan::new(snapshot.as_ref(), range, ledger::Direction::Forward);
    while let Some(entry) = scan.next().await? {
        let source = keys::linking_repository(&entry.key, place.registry, digest);
        if let Some(source) = source
            && call.access.permits(&source, Action::Pull)
        {
            return service.mount(place, &source, digest).await;
        }
    }
    Ok(false)
}

/// What a writer is told who didn't write.
async fn overtaken(
    service: &RegistryService,
    call: &Call<'_>,
    place: Place<'_>,
    id: Uuid,
    stopped: Stopped,
) -> RegistryError {
    match stopped {
        Stopped::Failed(error) => error,
        Stopped::Overtaken => match service.session(place, call.access.caller(), id).await {
            Ok(session) => out_of_order(call, &session),
            Err(error) => error,
        },
    }
}

fn out_of_order(call: &Call<'_>, session: &Session) -> RegistryError {
    RegistryError::out_of_order(UploadPlace {
        location: location(call, &session.record.repository, session.id),
        offset: session.length(),
    })
}

/// How many bytes the request brings, if its headers say so.
fn expected(call: &Call<'_>, session: &Session) -> Result<Option<u64>, RegistryError> {
    let range = call.header(CONTENT_RANGE);
    let length = announced(call)?;
    expect(session.length(), range, length).map_err(|refusal| match refusal {
        Refusal::OutOfOrder => out_of_order(call, session),
        Refusal::Size => ErrorCode::SizeInvalid.into(),
        Refusal::Malformed => {
            RegistryError::with(ErrorCode::BlobUploadInvalid, "Content-Range is first-last")
        }
    })
}

pub(crate) async fn append(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, id): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    service.check_pushable(place)?;
    let id = parse_id(id)?;
    let mut session = service.session(place, call.access.caller(), id).await?;
    let Some(_writing) = Writing::begin(service, id) else {
        return Err(out_of_order(call, &session));
    };
    let expected = expected(call, &session)?;
    let taken = match service.take_in(call.registry, &mut session, body, expected).await {
        Ok(()) => service.save(&mut session).await,
        Err(stopped) => Err(stopped),
    };
    match taken {
        Ok(()) => Ok(progress(call, StatusCode::ACCEPTED, &session)),
        Err(stopped) => Err(overtaken(service, call, place, id, stopped).await),
    }
}

pub(crate) async fn finish(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, id): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    check_lock(service, place).await?;
    let id = parse_id(id)?;
    let mut session = service.session(place, call.access.caller(), id).await?;
    let Some(_writing) = Writing::begin(service, id) else {
        return Err(out_of_order(call, &session));
    };
    let named = call.query.get("digest").unwrap_or_default();
    let digest = digest(named)?;
    let expected = expected(call, &session)?;
    RegistryService::choose_algorithm(&mut session, digest.algorithm());
    let done = match service.take_in(call.registry, &mut session, body, expected).await {
        Ok(()) => service.complete(place, &mut session, &digest).await,
        Err(stopped) => Err(stopped),
    };
    match done {
        Ok(()) => Ok(render::created(&blob_location(repository, &digest), &digest)),
        Err(stopped) => Err(overtaken(service, call, place, id, stopped).await),
    }
}

pub(crate) async fn status(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    id: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    let session = service
        .session(place, call.access.caller(), parse_id(id)?)
        .await?;
    Ok(progress(call, StatusCode::NO_CONTENT, &session))
}

pub(crate) async fn cancel(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    id: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    let id = parse_id(id)?;
    let session = service.session(place, call.access.caller(), id).await?;
    match service.abandon(&session).await {
        Ok(()) => Ok(render::empty(StatusCode::NO_CONTENT)),
        Err(stopped) => Err(overtaken(service, call, place, id, stopped).await),
    }
}
